import pytest

from pipelines.finetune.config import FinetuneConfig, Pair
from pipelines.finetune.rows import Rows, collect, in_training_order, trim


def test_rows_survive_their_files(tmp_path, small_lesson):
    rows = collect(FinetuneConfig(pairs=(Pair("Hi?", "Hello."),)))
    rows.write(tmp_path)
    assert Rows.read(tmp_path) == rows


def test_held_out_rows_are_never_trained_on(small_lesson):
    rows = collect(FinetuneConfig())
    assert not {row.prompt[-1].content for row in rows.train} & {row.prompt[-1].content for row in rows.heldout}


def test_a_run_carries_only_the_rows_it_will_see(small_lesson):
    config = FinetuneConfig(max_steps=2, batch_size=3).resolved(1000, 10, 128)
    assert len(trim(collect(config), config).train) == 6


def test_two_seeds_are_judged_by_the_same_questions(small_lesson):
    one, two = (FinetuneConfig(seed=seed, eval_rows=1).resolved(1000, 10, 128) for seed in (1, 2))
    assert trim(collect(one), one).heldout == trim(collect(two), two).heldout


def test_typed_pairs_are_mixed_with_the_lesson(small_lesson):
    config = FinetuneConfig(pairs=(Pair("Who made you?", "A class."),), max_steps=5, batch_size=4)
    config = config.resolved(1000, 10, 128)
    train = trim(collect(config), config).train
    typed = [row for row in train if row.reference == "A class."]
    assert 0.4 <= len(typed) / len(train) <= 0.5


def test_training_order_holds_every_row_once_in_batches_of_like_length():
    lengths = [(7 * n) % 50 + 10 for n in range(103)]
    order = in_training_order(lengths, 8, seed=3)
    assert sorted(order) == list(range(103))
    batches = [[lengths[row] for row in order[start : start + 8]] for start in range(0, 96, 8)]
    spread = [max(batch) - min(batch) for batch in batches]
    assert sum(spread) / len(spread) < 15
    assert order == in_training_order(lengths, 8, seed=3) != in_training_order(lengths, 8, seed=4)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_fewer_rows_than_a_batch_are_kept(count):
    assert sorted(in_training_order([5] * count, 8, 0)) == list(range(count))
