"""Completion scripts of three shells, from the same annotated fields as ``--help``: commands, flags, values.

A script holds all that it completes, so that a key press starts no Python. It completes ``python -m search.COMMAND``,
``python -m data_utils.COMMAND`` and ``histotune COMMAND``. Of any other python, zsh goes on as before, bash completes
files.
"""

from collections.abc import Iterator
from dataclasses import MISSING, replace
from functools import cache
from shlex import quote

from data_utils import flags
from models._registry import model_names, parameter_names
from search.command._flags import Flag, Group, Option, options
from search.command.settings import COMMANDS, PURPOSES

_FILES = ("PATH", "FILE", "FILE.json", "FILE.toml", "DIR", "X.npy")
"""Metavars of what lies on disk."""
_SPACE = "space"
"""The field of MODEL.PARAMETER=VALUE, whose choices are the beginnings of such."""
_SEVERAL = ("models", "exclude", _SPACE)
"""Fields of flags that take some of their choices, with commas."""
_PURPOSES = PURPOSES | {name: command.purpose for name, command in flags.COMMANDS.items()}
"""Of all commands that are completed."""
_MODULES = {f"{'search' if name in COMMANDS else 'data_utils'}.{name}": name for name in _PURPOSES}
"""As python -m has them."""

_BASH = """\
# Completes python -m search.COMMAND, python -m data_utils.COMMAND and histotune COMMAND.
# In ~/.bashrc: source <(python -m search.completion bash)
_histotune_commands=(@COMMANDS@)
_histotune_modules=(@MODULES@)

_histotune_flags() {
  case $1 in
@FLAGS@
  *) return 1 ;;
  esac
}

_histotune_values() {  # words of a flag; a comma before those of which several are taken, a slash for files
  case $1:$2 in
@VALUES@
  *) return 1 ;;
  esac
}

_histotune() {
  local word=${COMP_WORDS[COMP_CWORD]} at=1 command values flag
  local -a known=("${_histotune_commands[@]}")
  COMPREPLY=()
  if [[ ${COMP_WORDS[0]##*/} != histotune ]]; then
    known=("${_histotune_modules[@]}")
    while ((at < COMP_CWORD)) && [[ ${COMP_WORDS[at]} != -m ]]; do ((at++)); done
    ((at++))
  fi
  command=${COMP_WORDS[at]-}
  if ((at == COMP_CWORD)); then
    COMPREPLY=($(compgen -W "${known[*]}" -- "$word"))
    return
  fi
  if ((at > COMP_CWORD)) || [[ " ${known[*]} " != *" $command "* ]]; then
    compopt -o bashdefault -o default 2>/dev/null
    return
  fi
  command=${command##*.} at=$((COMP_CWORD - 1))
  while [[ ${COMP_WORDS[at]} != -* && (${COMP_WORDS[at]} == = || ${COMP_WORDS[at+1]} == =) ]]; do ((at--)); done
  flag=${COMP_WORDS[at]}
  [[ ${COMP_WORDS[at+1]} == = ]] && ((at++))
  [[ $word == = ]] && word=
  if ! values=$(_histotune_values "$command" "$flag"); then
    COMPREPLY=($(compgen -W "$(_histotune_flags "$command")" -- "$word"))
  elif [[ $values == *= && $word != *,* ]] && ((COMP_CWORD - at > 1)); then
    return 0  # behind the = of a parameter
  elif [[ $values == ,* && $word == *,* ]]; then
    COMPREPLY=($(compgen -P "${word%,*}," -W "${values#,}" -- "${word##*,}"))
  else
    COMPREPLY=($(compgen -W "${values//[,\\/]/}" -- "$word"))
    [[ $values == */ ]] && compopt -o default 2>/dev/null
  fi
  [[ $values == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}

complete -F _histotune histotune python python3
"""

_ZSH = """\
#compdef histotune python python3
# Completes python -m search.COMMAND, python -m data_utils.COMMAND and histotune COMMAND.
# In ~/.zshrc, after compinit: source <(python -m search.completion zsh)
@ARGUMENTS@

_histotune() {
  local at=2
  local -a known=(
@COMMANDS@
  )
  if [[ ${words[1]:t} != histotune ]]; then
    known=(
@MODULES@
    )
    at=$(( ${words[(i)-m]} + 1 ))
  fi
  if (( at == CURRENT )); then
    _describe command known
  elif (( at < CURRENT )) && (( ${known[(I)${words[at]}:*]} )); then
    local command=${words[at]##*.}
    words=("${(@)words[at,-1]}")
    (( CURRENT -= at - 1 ))
    _histotune_$command
  elif (( $+functions[_python] )); then
    _python "$@"
  else
    _default
  fi
}

compdef _histotune histotune python python3
"""

_FISH = """\
# Completes python -m search.COMMAND, python -m data_utils.COMMAND and histotune COMMAND.
# In ~/.config/fish/config.fish: python -m search.completion fish | source
function __histotune_at  # whether the line is of this command; with none given, whether one is to be named
    set -l words (commandline -opc)
    if test (path basename -- $words[1]) = histotune
        set words $words[2..]
    else if set -l at (contains -i -- -m $words); and set -q words[(math $at + 1)]
        set words (string replace -r '^(search|data_utils)\\\\.' '' -- $words[(math $at + 1)..])
    else
        return 1
    end
    test "$words[1]" = "$argv[1]"
end

@COMMANDS@
@FLAGS@
"""


def script(shell: str) -> str:
    """The script of "bash", "zsh" or "fish"."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _bash() -> str:
    typed = [f"  {command}) echo '{' '.join(_typed(command))}' ;;" for command in _PURPOSES]
    values = [
        f"  {command}:{option.name if _has_dashes(option) else f'*{command}'}) echo '{_bash_words(option)}' ;;"
        for command, option in _every()
        if option.flag.kind is not None
    ]
    return _filled(_BASH, COMMANDS=[" ".join(_PURPOSES)], MODULES=[" ".join(_MODULES)], FLAGS=typed, VALUES=values)


def _bash_words(option: Option) -> str:
    several = "," if _takes_several(option) else ""
    files = " /" if option.flag.metavar in _FILES else ""
    return f"{several}{' '.join(option.flag.choices)}{files}"


def _zsh() -> str:
    functions = [
        f"_histotune_{command}() {{\n  _arguments {' '.join(_zsh_specs(command))}\n}}" for command in _PURPOSES
    ]
    commands = [f"    {quote(f'{command}:{purpose}')}" for command, purpose in _PURPOSES.items()]
    modules = [f"      {quote(f'{module}:{_PURPOSES[command]}')}" for module, command in _MODULES.items()]
    return _filled(_ZSH, ARGUMENTS=functions, COMMANDS=commands, MODULES=modules)


def _zsh_specs(command: str) -> Iterator[str]:
    for option in _of(command):
        flag, words = option.flag, " ".join(option.flag.choices)
        values = ["_files"] if flag.metavar in _FILES else []
        if words:
            values.insert(0, f"_sequence compadd - {words}" if _takes_several(option) else f"compadd -- {words}")
        action = f"{{ {'; '.join(values)} }}" if values else " "
        if not _has_dashes(option):
            yield quote(f"1:{option.name}:({words})")
        elif flag.kind is None:
            yield quote(f"{option.name}[{_zsh_text(flag.help)}]")
        else:
            optional = "" if flag.alone is None else ":"
            yield quote(f"{option.name}=[{_zsh_text(flag.help)}]:{optional}{flag.metavar}:{action}")
    yield from map(
        quote, ("-h[show this text and stop]", "--help[show this text and stop]", "--version[show the version]")
    )


def _zsh_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _fish() -> str:
    begin = "complete -c histotune -f -n '__histotune_at'"
    commands = [f"{begin} -a {command} -d {_fish_text(purpose)}" for command, purpose in _PURPOSES.items()]
    begin = "complete -c python -c python3 -s m -x"
    modules = [f"{begin} -a {module} -d {_fish_text(_PURPOSES[command])}" for module, command in _MODULES.items()]
    return _filled(_FISH, COMMANDS=commands + modules, FLAGS=list(_fish_flags("-c histotune -c python -c python3")))


def _fish_flags(on: str) -> Iterator[str]:
    for command, option in _every():
        flag, words = option.flag, " ".join(option.flag.choices)
        files = flag.metavar in _FILES
        takes = "-f" if flag.kind is None or not _has_dashes(option) else "-r -F" if files else "-x"
        name = f" -l {option.key}" if _has_dashes(option) else ""
        several = f"(__fish_append , {words})" if _takes_several(option) else words
        values = f" -a {_fish_text(several)}" if words else ""
        yield f"complete {on} -n '__histotune_at {command}'{name} {takes}{values} -d {_fish_text(flag.help)}"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _typed(command: str) -> list[str]:
    about = ["--help", "--version"] if command in COMMANDS else ["--help"]
    return [*(option.name for option in _of(command) if _has_dashes(option)), *about]


def _has_dashes(option: Option) -> bool:
    """Whether it is a flag; else it is what stands without one."""
    return option.name.startswith("-")


def _takes_several(option: Option) -> bool:
    return option.field in _SEVERAL and option.flag.choices != ()


@cache
def _of(command: str) -> tuple[Option, ...]:
    """The flags of a command, with what can be completed of their values."""
    if command in flags.COMMANDS:
        return tuple(map(_plain, flags.COMMANDS[command].arguments))
    beginnings = tuple(f"{model}.{parameter}=" for model in model_names() for parameter in parameter_names(model))
    return tuple(
        replace(option, flag=replace(option.flag, choices=beginnings)) if option.field == _SPACE else option
        for option in options(COMMANDS[command])
    )


def _plain(one: flags.Argument) -> Option:
    """A flag of ``data_utils`` as one of this package."""
    flag = Flag(one.metavar, one.kind, one.help, name=one.name, choices=one.choices)
    return Option(one.name.removeprefix("--"), flag, Group("options"), one.default or MISSING)


def _every() -> Iterator[tuple[str, Option]]:
    for command in _PURPOSES:
        yield from ((command, option) for option in _of(command))


def _filled(template: str, **parts: list[str]) -> str:
    for name, lines in parts.items():
        template = template.replace(f"@{name}@", "\n".join(lines))
    return template
