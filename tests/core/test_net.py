"""What a session remembers with."""

from __future__ import annotations

import torch

from omniform.core.net import KV, Context, Encoded, Record


def test_keys_and_values_grow_and_keep_what_they_had():
    g = torch.Generator().manual_seed(0)
    kv, said = KV(0), torch.randn(2, 3, 20, 4, generator=g)
    used = 0
    for n in (1, 1, 5, 2, 11):
        k, v = kv.write(said[:, :, used : used + n], -said[:, :, used : used + n], used)
        used += n
        assert torch.equal(k, said[:, :, :used]) and torch.equal(v, -said[:, :, :used])
    k, _ = kv.write(said[:, :, :2], said[:, :, :2], 4)
    assert torch.equal(k, torch.cat([said[:, :, :4], said[:, :, :2]], 2))
    copy = kv.rows(torch.tensor([1]))
    copy.write(said[:1, :, :1] * 9, said[:1, :, :1] * 9, 0)
    assert torch.equal(kv.write(said[:, :, :1], said[:, :, :1], 1)[0][:, :, 0], said[:, :, 0])


def test_before_reads_without_writing():
    kv = KV(8)
    said = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    kv.write(said, -said, 0)
    k, v = kv.before(said[:, :, :1] * 5, said[:, :, :1] * 7, 2)
    assert torch.equal(k, torch.cat([said[:, :, :2], said[:, :, :1] * 5], 2)) and torch.equal(v[:, :, 2:], said[:, :, :1] * 7)
    assert torch.equal(kv.write(said[:, :, :1], said[:, :, :1], 3)[0][:, :, :3], said)


def test_a_record_joins_rows_that_are_shared_and_rows_of_their_own():
    record, shared = Record(), torch.arange(2)[None].expand(3, -1)
    zero = torch.zeros(3, 2, dtype=torch.long)
    record.extend(shared, shared * 0, shared * 0)
    assert record.ledger()[0].shape == (1, 2)
    own = torch.tensor([[2, 3], [3, 2], [2, 2]])
    record.extend(own, zero, zero - 1)
    turn, lane, doc = record.ledger()
    assert record.used == 4 and torch.equal(turn, torch.cat([shared, own], 1)) and doc.tolist() == [[0, 0, -1, -1]] * 3 and not lane.any()


def test_rows_of_a_context():
    told = Encoded(torch.arange(6.0).reshape(3, 2, 1), torch.arange(3.0)[:, None], torch.zeros(3, 2, 1), torch.zeros(3, 2, dtype=torch.long))
    picked = Context(3, modulate=torch.arange(3.0)[:, None], cross=told).rows(torch.tensor([2, 2, 0, 1]))
    assert picked.batch == 4 and picked.modulate[:, 0].tolist() == [2, 2, 0, 1] and picked.prefix is None
    assert picked.cross.tokens[:, 1, 0].tolist() == [5, 5, 1, 3]
