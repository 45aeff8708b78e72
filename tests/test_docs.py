"""README and docs say what the published tables say, and link to what is there."""

import re
from pathlib import Path

import pandas as pd
import pytest

from emoshare_utils.names import label

PROJECT = Path(__file__).parents[1]
PUBLISHED = PROJECT / "figures" / "published"
README = (PROJECT / "README.md").read_text()
RESULTS = (PROJECT / "docs" / "results.md").read_text()
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def mean_rho(profile: str) -> pd.DataFrame:
    """Published mean devel rho: a row per encoder, the best first, a column per architecture."""
    table = pd.read_csv(PUBLISHED / profile / "fig3.csv")
    table = table[(table["split"] == "devel") & table["architecture"].isin([1, 2])]
    table = table.pivot_table("mean_rho", "encoder", "architecture")
    return table.loc[table.max(axis=1).sort_values(ascending=False).index]


def as_readme(rho: float) -> str:
    return f"{rho:.2f}".removeprefix("0")


@pytest.mark.parametrize("profile", ["crema_d", "demo"])
def test_readmes_tables_are_the_published_ones(profile):
    rows = "\n".join(
        f"| {label(encoder)} | {as_readme(first)} | {as_readme(second)} |"
        for encoder, first, second in mean_rho(profile).itertuples()
    )
    heading = "| features | Architecture 1 | Architecture 2 |\n|---|---:|---:|\n"
    assert heading + rows + "\n\n" in README, f"README's table of {profile} should be:\n{rows}"


def sentences() -> list[str]:
    """What docs/results.md must say, word for word, by the published tables."""
    crema, demo = mean_rho("crema_d"), mean_rho("demo")
    best = {encoder: as_readme(row.max()) for encoder, row in crema.iterrows()}
    shown = {encoder: as_readme(row.max()) for encoder, row in demo.iterrows()}
    table = pd.read_csv(PUBLISHED / "crema_d" / "fig3.csv")
    baseline = table[(table["encoder"] == "fbank") & (table["architecture"] == 0)]["mean_rho"]
    svr = pd.read_csv(PUBLISHED / "demo" / "fig3.csv").query(
        "architecture == 0 and split == 'devel'"
    )
    fused = "hubert-mini-3@2 + hubert-mini@2 + fbank"
    leader = table.query("encoder == @fused and architecture == 1").iloc[0]
    clips = f"{as_readme(leader['ci_low'])} to {as_readme(leader['ci_high'])} over clips"
    speakers = f"{as_readme(leader['ci_speakers_low'])} to {as_readme(leader['ci_speakers_high'])}"
    return [
        f"mean devel rho {best[fused]} with either architecture",
        f"without `hubert-mini` it is {best['hubert-mini-3@2 + fbank']} as well",
        f"`hubert-mini-3` reaches {best['hubert-mini-3@2']}, `hubert-mini` {best['hubert-mini@2']}",
        f"{clips}, {speakers} over the 15 speakers",
        f"40 mel bands ({best['fbank']} with either architecture; "
        f"{as_readme(baseline.iloc[0])} for the challenge's baseline on the same features)",
        f"`wav2vec2-mini` ({best['wav2vec2-mini']}) and MFCC ({best['mfcc']})",
        f"On devel 40 mel bands reach {shown['fbank']}, and the challenge's baseline on the same "
        f"features {as_readme(svr['mean_rho'].iloc[0])}",
        f"`hubert-mini` ({shown['hubert-mini']}) and `wav2vec2-mini` ({shown['wav2vec2-mini']})",
    ]


@pytest.mark.parametrize("place", range(len(sentences())))
def test_numbers_in_the_results_are_the_published_ones(place):
    assert sentences()[place] in RESULTS


def test_readme_is_short():
    assert len(README.split()) <= 1200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing


def test_commands_in_readme_are_those_there_are():
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    main = (PROJECT / "emoshare_utils" / "__main__.py").read_text()
    for command in re.findall(r"python -m emoshare_utils (\w+)", README):
        assert f'"{command}"' in main, command
