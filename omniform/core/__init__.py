"""The nouns every room speaks: tokens, space, order, query, distribution, net, process, codec, spec, rng, errors."""
