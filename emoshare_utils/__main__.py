"""`python -m emoshare_utils COMMAND`: `new`, `check`, `run`, `lab`, `report` and `publish` take a
profile, `predict` recordings, and `export` a run."""

import argparse
import importlib
import os
import signal
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0, 1 if a notebook or check fails, 2 for bad input, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    of_lab = words[:1] == ["lab"] and "--" in words
    ours = words[: words.index("--")] if of_lab else words
    given = vars(_parser().parse_args(ours))
    name, module = given.pop("command"), given.pop("module")
    if name == "lab":
        given["jupyter"] = words[len(ours) + 1 :]
    if name == "check":  # it says which models are not here, and fetches none
        os.environ["HF_HUB_OFFLINE"] = "1"
    # not needed for --help, which should not keep anyone waiting
    from emoshare_utils.errors import UserError
    from emoshare_utils.files import FolderError
    from emoshare_utils.runner.notebooks import NotebookFailed
    from emoshare_utils.runner.profiles import parse_settings

    sys.stdout.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if "set" in given:
            given["overrides"] = parse_settings(given.pop("set"))
        done = getattr(importlib.import_module(f"emoshare_utils.{module}"), name)(**given)
    except NotebookFailed as error:
        print(error, file=sys.stderr)
        return 1
    except (UserError, FolderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        resumes = {"run": "resumes with that notebook", "predict": "with --csv resumes there"}
        said = f": the same command {resumes[name]}" if name in resumes else ""
        print(f"\nstopped{stopped}{said}", file=sys.stderr)
        return 130
    return 1 if name in ("check", "predict") and not done else 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add("profile", help="a name in profiles/, or a path to a .yaml file")
    about = "parameters, or entries as sizes.lstm=64, in place of the profile's; values are YAML"
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=about)

    parser = argparse.ArgumentParser(prog="python -m emoshare_utils")
    commands = parser.add_subparsers(dest="command", required=True)
    about = "write a profile for a corpus of your own"
    new = commands.add_parser("new", help=about, description=about)
    new.set_defaults(module="checking.new")
    new.add_argument("profile", help="its name: profiles/NAME.yaml is written")
    about = "a .csv or .parquet file of shares, or of single votes (docs/corpora.md)"
    new.add_argument("--labels", required=True, metavar="FILE", help=about)
    about = "the folder of the audio files; else that of the labels"
    new.add_argument("--audio", metavar="FOLDER", help=about)
    about = "the emotions, if other columns hold numbers too"
    new.add_argument("--shares", nargs="+", action="extend", metavar="EMOTION", help=about)
    about = "say what a profile's run will meet: corpus, encoders, disk and time"
    check = commands.add_parser("check", parents=[common], help=about, description=about)
    check.set_defaults(module="checking.check")
    _add_running(commands, common)
    about = "write a finished run as one HTML file, report/<run>.html"
    report = commands.add_parser("report", parents=[common], help=about, description=about)
    report.set_defaults(module="runner.report")
    about = "renew figures/published/ and docs/notebooks/ by a finished run"
    publish = commands.add_parser("publish", parents=[common], help=about, description=about)
    publish.set_defaults(module="runner.publishing")
    _add_predicting(commands)
    return parser


def _add_running(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    about = "run the paper's notebooks (or those the profile names) that are not up to date"
    run = commands.add_parser("run", parents=[common], help=about, description=about)
    run.set_defaults(module="runner.workbook")
    run.add_argument("--studies", action="store_true", help="then run the studies, 06 and later")
    some = run.add_mutually_exclusive_group()
    about = "run these notebooks alone"
    some.add_argument("--only", nargs="+", action="extend", default=[], metavar="03", help=about)
    about = "leave out the notebooks before this one"
    some.add_argument("--from", dest="start", metavar="03", help=about)
    run.add_argument("--force", action="store_true", help="run what is up to date, too")
    about = "how many studies run at the same time (two, or one on a GPU, cluster or single core)"
    run.add_argument("--at-once", type=_number, metavar="N", help=about)
    about = "open working copies of the notebooks in JupyterLab, a profile's parameters filled in"
    more = "What follows -- goes to JupyterLab, such as -- --no-browser --port 8890."
    lab = commands.add_parser("lab", parents=[common], help=about, description=f"{about}. {more}")
    lab.set_defaults(module="runner.lab")
    about = "write the copies alone, lab/<run>/"
    lab.add_argument("--no-open", dest="show", action="store_false", help=about)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def _add_predicting(commands: argparse._SubParsersAction) -> None:
    about = "predict the shares of recordings with a trained system (docs/predict.md)"
    predict = commands.add_parser("predict", help=about, description=about)
    predict.set_defaults(module="predicting.commands")
    predict.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders of them")
    about = "a folder that export wrote; else the system that ships"
    predict.add_argument("--system", metavar="DIR", help=about)
    about = "write a table, a row per recording; stopped, the same command resumes"
    predict.add_argument("--csv", metavar="FILE", help=about)
    about = "draw the first 20 recordings and their shares"
    predict.add_argument("--picture", action="store_true", help=about)
    about = "write a trained system of a run as a folder that works on another machine"
    export = commands.add_parser("export", help=about, description=about)
    export.set_defaults(module="predicting.commands")
    export.add_argument("run", metavar="RUN", help="the run's folder, such as runs/demo")
    export.add_argument("--encoder", required=True)
    export.add_argument("--architecture", required=True, type=int)
    export.add_argument("--seed", type=int, default=0)
    export.add_argument("--to", required=True, metavar="DIR", help="a new folder")


if __name__ == "__main__":
    sys.exit(main())
