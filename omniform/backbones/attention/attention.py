"""Multi-head attention under the turn rule, and cross-attention to conditions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import BadArgument
from ...core.net import KV, Block, Env
from ...core.spec import Spec
from ..lean import Linear
from ..norms import QkNorm, normalised
from ..positions import alibi, rotate
from ..streams import Beside, Streams
from .kernels import attend
from .subsets import subset


def _heads(width: int, heads: int, kv_heads: int | None, head_width: int | None) -> tuple[int, int]:
    kv = kv_heads or heads
    if heads < 1 or heads % kv:
        raise BadArgument(f"the number of heads ({heads}) must be a multiple of the key-value heads ({kv})")
    if head_width is None and width % heads:
        raise BadArgument(f"width {width} does not divide into {heads} heads; choose another number of heads or give head_width")
    return kv, head_width or width // heads


class Attention(Block):
    """Who may see whom is the turn rule (core.query); this block only applies the mask or the promise it is handed.

    kv_heads < heads: grouped queries (arXiv:2305.13245). qk_norm: "rms", "layer" (arXiv:2302.05442), either over all heads at once ("rms_wide", "layer_wide"),
    or "cosine" with a learned scale a head (VAR's code). biases: which linears have one: any of "q", "k", "v", "o". streams 2: the prefix has weights of its
    own (MM-DiT, arXiv:2403.03206, section 4). ends: the prefix is read and not answered, (B, prefix + L, D) -> (B, L, D).
    kinds: each kind of token has weights of its own (mixture of transformers, arXiv:2411.04996); all of them see one another all the same.
    slopes: ALiBi (arXiv:2108.12409), the distance summed over the axes; as a number, so many groups of heads that have the same slopes each (Tranception).
    Rotary positions come from the stack (env.rotation), and so does a relative bias.
    linear: Spec of what makes queries, keys, values and the output, one each, in place of linear maps (TokenFormer, MoHD). blend: Spec of what each of the
    three passes through after it, told the heads' channels, width and shares (Primer's and Tranception's convolutions along the sequence).
    scale: of the scores, None: 1 / sqrt(head width) (T5: 1).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        head_width: int | None = None,
        biases: str = "qkvo",
        qk_norm: QkNorm = "none",
        slopes: bool | int = False,
        streams: int = 1,
        qk_eps: float = 1e-6,
        ends: bool = False,
        kinds: int = 0,
        linear: Spec | None = None,
        blend: Spec | None = None,
        scale: float | None = None,
    ):
        super().__init__()
        self.heads, self.ends = heads, ends
        self.kv_heads, self.head_width = _heads(width, heads, kv_heads, head_width)
        self.sizes = [heads * self.head_width, self.kv_heads * self.head_width, self.kv_heads * self.head_width]
        self.shares = [heads, self.kv_heads, self.kv_heads]
        self.biases = biases
        fused = all(b in biases for b in "qkv") or not any(b in biases for b in "qkv")
        inner = heads * self.head_width
        if linear is None:
            self.qkv = Streams(streams, lambda: Linear(width, sum(self.sizes), bias=fused and "q" in biases), kinds)
            self.out = Streams(1 if ends else streams, lambda: Linear(inner, width, bias="o" in biases), kinds)
        else:
            self.qkv = Streams(streams, lambda: Beside(linear.build(width=width, out=size) for size in self.sizes))
            self.out = Streams(1 if ends else streams, lambda: linear.build(width=inner, out=width))
        self.blend = None if blend is None else blend.build(channels=sum(self.sizes), head_width=self.head_width, shares=tuple(self.shares))
        self.some_bias = None if fused else nn.ParameterDict({b: nn.Parameter(torch.zeros(self.sizes["qkv".index(b)])) for b in "qkv" if b in biases})
        self.norm = normalised(qk_norm, self.head_width, heads, self.kv_heads, streams, qk_eps, kinds)
        self.scale = 1.0 if qk_norm == "cosine" else scale
        self.keep: float | None = None  # set by an objective: what share of the keys is drawn in training
        if slopes:
            self.register_buffer("slopes", torch.tensor(alibi(heads, int(slopes))), persistent=False)
        else:
            self.slopes = None

    def _split(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, L, Dh): all heads at once, and then cut."""
        if self.some_bias is not None:
            each = [self.some_bias[b] if b in self.some_bias else y.new_zeros(n) for b, n in zip("qkv", self.sizes, strict=True)]
            y = y + torch.cat(each).to(y.dtype)
        return y.view(*y.shape[:2], -1, self.head_width).transpose(1, 2).split_with_sizes(self.shares, 1)  # type: ignore[return-value]

    def forward(self, x: Tensor, env: Env) -> Tensor:
        y = self.qkv.through(x, env)
        q, k, v = self._split(y if self.blend is None else self.blend(y, env))
        if self.norm is not None:
            q, k = self.norm(q, k, env)
        if env.rotation is not None:
            q, k = rotate(q, env.rotation), rotate(k, env.rotation)
        q_coord = k_coord = env.coord
        if env.record is not None and (env.remember or env.record.used):
            past = env.record.blocks
            used = env.record.used
            kept = past.get(self.name) or past.setdefault(self.name, KV(0))
            if not k.requires_grad:
                k, v = kept.write(k, v, used)
            elif not env.remember:
                k, v = kept.before(k, v, used)  # an energy's slope: derivatives stop at what is remembered
            else:
                raise BadArgument("what is remembered cannot be differentiated through; open the session with memory='nothing', or ask under torch.no_grad()")
            if self.slopes is not None or env.relative is not None:
                k_coord = past.setdefault(self.name + ".coord", KV(0)).write(env.coord[:, None], env.coord[:, None], used)[0][:, 0]
        mask, causal = env.mask, env.pattern == "causal"
        if self.slopes is not None or env.relative is not None:
            mask, causal = self._distances(q_coord, k_coord, mask, causal, env.relative), False
        if self.keep is not None and self.training and env.record is None:
            k, v, mask = subset(k, v, mask, causal, self.keep)
            causal = False
        y = attend(q, k, v, mask=mask, causal=causal, scale=self.scale, plain=self.plain)
        if self.ends and env.prefix:
            y = y[:, :, env.prefix :]
        return self.out.through(y.transpose(1, 2).flatten(2), env)

    def _distances(self, q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, relative: Any) -> Tensor:
        """ALiBi's or the stack's additive mask (B, H, Lq, Lk), with visibility in it."""
        bias = 0.0 if relative is None else relative(q, k)
        if self.slopes is not None:
            bias = bias - self.slopes[:, None, None] * (q[:, :, None] - k[:, None]).abs().sum(-1)[:, None]
        if causal:
            mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).tril(k.shape[1] - q.shape[1])
        return bias if mask is None else bias.masked_fill(~mask, -torch.inf)


class CrossAttention(Block):
    """Attention to the condition placed "cross". Its keys and values are computed once a session that remembers.

    Without such a condition the block refuses; with an empty one (all padding) it adds nothing. zero: it starts by adding nothing. norm_context: LayerNorm of
    what is read. scale: of the scores, as in Attention.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int | None = None,
        biases: str = "qkvo",
        qk_norm: QkNorm = "none",
        context: int | None = None,
        qk_eps: float = 1e-6,
        zero: bool = False,
        norm_context: bool = False,
        scale: float | None = None,
    ):
        super().__init__()
        self.heads = heads
        _, self.head_width = _heads(width, heads, None, head_width)
        inner = heads * self.head_width
        self.q = Linear(width, inner, bias="q" in biases)
        self.kv = Linear(context or width, 2 * inner, bias="k" in biases)
        self.out = Linear(inner, width, bias="o" in biases)
        self.norm = normalised(qk_norm, self.head_width, heads, heads, 1, qk_eps)
        self.scale = 1.0 if qk_norm == "cosine" else scale
        self.norm_context = nn.LayerNorm(context or width, eps=1e-6) if norm_context else None
        if zero:
            nn.init.zeros_(self.out.weight)
            if self.out.bias is not None:
                nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        told = env.context.cross
        if told is None:
            raise BadArgument('CrossAttention needs a condition placed "cross"; add one to the recipe\'s conditions')
        split = lambda y: y.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # noqa: E731
        q = split(self.q(x))
        kept = None if env.record is None else env.record.blocks.get(self.name)
        if kept is None:
            read = told.tokens.to(x.dtype)
            k, v = (split(y) for y in self.kv(read if self.norm_context is None else self.norm_context(read)).chunk(2, -1))
            if self.norm is not None:
                q, k = self.norm(q, k, env)
            kept = KV(0)
            kept.key, kept.value = k, v
            if env.record is not None and not torch.is_grad_enabled():
                env.record.blocks[self.name] = kept
        elif self.norm is not None:
            q, _ = self.norm(q, q, env)
        mask = (told.doc >= 0)[:, None, None, :]
        empty = ~mask.any(-1, keepdim=True)
        y = attend(
            q,
            kept.key,
            kept.value,
            mask=mask | empty,
            causal=False,
            scale=self.scale,
            plain=self.plain,
        )
        return self.out(torch.where(empty, 0.0, y).transpose(1, 2).flatten(2))
