"""Readers of public label sets by name (docs/label_sets.md): a function per set, a module per kind of set.

A reader turns the rows of its set into items (`alma.label_sets.item`): a prompt and its answers, with scores
on 0-10 where the set has any. What `labels.sft`, `labels.judge` and `judge.benchmark` take of an item is one
rule for all sets (`alma.label_sets.purposes`); `alma.label_sets.registry` names the sets.
"""
