"""The flags of the method that a line names: each has its own, and two may call different things alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from inspect import signature
from typing import Annotated, Any, get_type_hints

from cyclopts import Group, Parameter

from homolog import methods
from homolog.errors import BadInput

# Options of methods that many lines name, by a letter, or that other commands call otherwise.
SHORT = {"most": "-n", "detector": "--keypoints"}


@dataclass(frozen=True)
class MethodFlags:
    """A command's choice of methods.

    places  method -> where its Config lives, as the tables of `methods` say
    usual   the one that is taken where a line names none
    title   of the group of flags in the help, the method's name in place of {}
    flag    by which a line names it
    other   what the flag may say that is no method's name: then the usual one's flags are known
    dress   from a Config to what the parser is given, `as_flags` where none is given
    """

    places: Mapping[str, str]
    usual: str
    title: str = "The method {}"
    flag: str = "--method"
    other: Callable[[str], bool] = lambda name: False
    dress: Callable[[Any], Any] | None = None

    def for_line(self, command: Callable[..., None], words: Sequence[str]) -> Callable[..., None]:
        """The command, whose parameter `options` becomes the Config of the method that a line names."""
        name = self.named(words)
        plain = methods.resolve(self.places[name])
        dressed = (self.dress or as_flags)(plain)
        flags: Any = Annotated[dressed, Parameter(name="*", group=Group(self.title.format(name), sort_key=8))]

        def made(*given: Any, **said: Any) -> None:
            # a parser leaves out what no flag was given for
            options = said.pop("options", dressed())
            command(*given, **{**said, "options": without_flags(options, plain)})

        made.__doc__ = command.__doc__
        made.__signature__ = _with_options(command, flags, dressed())  # type: ignore[attr-defined]
        return made

    def named(self, words: Sequence[str]) -> str:
        """The method that a line names, the usual one where it names none."""
        name = self.usual
        for word, after in zip(words, [*words[1:], ""]):
            if word == self.flag:
                name = after
            elif word.startswith(f"{self.flag}="):
                name = word.partition("=")[2]
        if name not in self.places and self.other(name):
            return self.usual
        if name not in self.places:
            near = get_close_matches(name, self.places, n=1)
            said = f"did you mean {self.flag} {near[0]}?" if near else f"{self.flag} {' or '.join(self.places)}"
            raise BadInput(f"no method is called {name!r}", said)
        return name

    def owners(self, flag: str) -> list[str]:
        """The methods that have an option of this flag's name."""
        field = flag.partition("=")[0].removeprefix("--").replace("-", "_").removeprefix("no_")
        return [name for name, place in self.places.items() if hasattr(methods.resolve(place)(), field)]


@cache
def as_flags(
    config: Any,
    *,
    hidden: tuple[str, ...] = (),
    called: tuple[tuple[str, str], ...] = (),
    usual: tuple[tuple[str, Any], ...] = (),
) -> Any:
    """The same Config for the parser: what is on unless said gets a flag that says so, and some options a letter.

    hidden  options that a command has no flag for
    called  options whose flag it calls otherwise
    usual   options that it gives another default
    """
    known = {field.name: field.default for field in fields(config)}
    changed = {name: value for name, value in usual if name in known}
    named: dict[str, Any] = {name: {"name": (_flag(name), letter)} for name, letter in SHORT.items() if name in known}
    named |= {name: {"name": (_flag(other),)} for name, other in called if name in known}
    on = {
        name: {"negative": _flag(f"no_{name}")}
        for name, default in known.items()
        if default is True or changed.get(name) is True
    }
    off: dict[str, Any] = {name: {"parse": False} for name in hidden if name in known}
    dressed: dict[str, Any] = {**{name: {} for name in changed}, **named, **on, **off}
    hints = get_type_hints(config)
    # help is looked for in the text of the class, and found in that of the one this derives from
    body: dict[str, Any] = {name: changed.get(name, known[name]) for name in dressed}
    body |= {"__doc__": config.__doc__, "__module__": config.__module__}
    body["__annotations__"] = {name: Annotated[hints[name], Parameter(**said)] for name, said in dressed.items()}
    return dataclass(frozen=True)(type(config.__name__, (config,), body))


def without_flags(options: Any, plain: Any) -> Any:
    """The Config that the method knows, which other processes can be sent."""
    return plain(**{field.name: getattr(options, field.name) for field in fields(plain)})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _with_options(command: Callable[..., None], flags: Any, default: Any) -> Any:
    """The command's signature with these for its options."""
    found = signature(command, eval_str=True)
    parameters = dict(found.parameters)
    parameters["options"] = parameters["options"].replace(annotation=flags, default=default)
    return found.replace(parameters=list(parameters.values()))
