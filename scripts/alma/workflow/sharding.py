"""Cut work into shards and blocks, and divide samples over checkpoints.

Standard library only: the Snakefile counts jobs with these functions.
"""


def ceil_div(total: int, size: int) -> int:
    """Smallest n with n * size >= total."""
    return -(-total // size)


def shard_range(shard: int, size: int, total: int) -> range:
    """Positions of shard `shard` when `total` items are cut into runs of `size`; the last may be short."""
    return range(min(shard * size, total), min((shard + 1) * size, total))


def even_range(part: int, parts: int, total: int) -> range:
    """Positions of part `part` when `total` items are cut into `parts` runs as even as can be."""
    return range(part * total // parts, (part + 1) * total // parts)


def block_samples(block: int, block_size: int, samples: int, position: int, checkpoints: int) -> list[int]:
    """Sample indices that one checkpoint draws in one block.

    The samples 0..N-1 of a prompt go round the checkpoints in turn, so 200 samples over three
    checkpoints are 67 + 67 + 66 (the remainder rule), and raising N only adds indices.

    Args:
        block: index of the block; block b holds the samples b*block_size .. (b+1)*block_size - 1.
        block_size: samples per prompt in one block, over all checkpoints.
        samples: N, samples per prompt.
        position: place of the checkpoint in the list of sampled checkpoints.
        checkpoints: length of that list.
    """
    return [s for s in shard_range(block, block_size, samples) if s % checkpoints == position]
