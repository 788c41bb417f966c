"""The ablation: same terms for every arm, nothing run twice, nothing silently left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training import ablation


def test_every_arm_has_the_same_size_steps_and_seeds() -> None:
    planned = list(ablation.runs("8k", 5, 2))
    assert len(planned) == 2 * len(ablation.ARMS)
    assert {(r.recipe.size, r.recipe.steps, r.recipe.batch_size) for r in planned} == {("8k", 5, 6)}
    assert len({run.key for run in planned}) == len(planned)


def test_report_averages_what_was_run_and_names_what_was_not() -> None:
    planned = list(ablation.runs("8k", 5, 2))
    labels = [run for run in planned if run.arm == "labels"]
    results = {
        run.key: {"fp32 all jaccard": value} for run, value in zip(labels, (0.6, 0.8), strict=True)
    }
    text = ablation.report(planned, results)
    assert "| labels | 8k | 5 | 2 | 0.700 [0.600, 0.800] | not run |" in text
    assert f"- {planned[1].key}" in text
    assert f"- {labels[0].key}\n" not in text


def test_what_is_done_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def pretend(run: ablation.Run, _scenes: Path, _folder: Path) -> dict[str, float]:
        trained.append(run.key)
        return {"fp32 all jaccard": 0.5}

    monkeypatch.setattr(ablation, "run_one", pretend)
    monkeypatch.setattr(ablation, "teacher_is_there", lambda _: False)
    options = ["--scenes", str(tmp_path), "--folder", str(tmp_path / "out"), "--seeds", "1"]
    ablation.main(options)
    ablation.main(options)
    without_teacher = [name for name, r in ablation.ARMS.items() if not r.is_taught]
    assert [key.split(" | ")[0] for key in trained] == without_teacher
    assert "Not run" in (tmp_path / "out" / ablation.REPORT).read_text(encoding="utf-8")


def test_a_run_of_another_recipe_is_not_taken_for_this_one() -> None:
    run = next(ablation.runs("8k", 5, 1))
    for changed in ({"temperature": 3.0}, {"augmentation": ablation.NO_PASTING}):
        assert ablation.Run(run.arm, replace(run.recipe, **changed)).key != run.key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "7k"], "student size '7k' does not exist"),
        (["--steps", "0"], "steps is 0"),
        (["--arm", "labels"], "no scene collection"),
        (["--folder", "damaged"], "ablation.json: is damaged"),
    ],
)
def test_mistakes_end_with_a_sentence_and_code_2(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("damaged").mkdir()
    (Path("damaged") / ablation.RESULTS).write_text('{"labels')
    with pytest.raises(SystemExit) as ended:
        ablation.main(["--scenes", str(tmp_path), "--folder", "out", *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
