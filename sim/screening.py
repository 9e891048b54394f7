"""Refuses Verilog that runs commands or accesses files, by name, before any tool reads it.

The screened text is the text that is compiled. Macros are expanded first, by Verilator, which may not include files.
Comments that instruct Verilator are removed, except for harmless ones. System tasks and directives must be on a list of
those that stay inside the simulation; all others are refused. Verilator looks for the module of an instance in a file
of the same name, so names of files are refused as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import UserError


def _names(mark: str, words: str) -> frozenset[str]:
    return frozenset(f"{mark}{word}" for word in words.split())


# System tasks and functions that stay inside the simulation. Their output is discarded.
TASKS = _names(
    "$",
    """
    display displayb displayh displayo write writeb writeh writeo strobe strobeb strobeh strobeo
    monitor monitorb monitorh monitoro monitoron monitoroff info warning error fatal finish stop exit
    time stime realtime timeformat printtimescale signed unsigned clog2 bits size left right low high increment
    dimensions unpacked_dimensions countones countbits onehot onehot0 isunknown isunbounded typename cast
    rtoi itor realtobits bitstoreal shortrealtobits bitstoshortreal random urandom urandom_range
    sformat sformatf swrite swriteb swriteh swriteo sscanf past rose fell stable changed sampled
    ln log10 exp sqrt pow floor ceil sin cos tan asin acos atan atan2 hypot sinh cosh tanh asinh acosh atanh
    asserton assertoff assertkill assertcontrol root unit specparam
    setup hold setuphold recovery removal recrem skew timeskew fullskew period width nochange
    """,
)
# Directives that remain once macros are expanded.
DIRECTIVES = _names(
    "`",
    """
    line timescale default_nettype celldefine endcelldefine resetall begin_keywords end_keywords
    unconnected_drive nounconnected_drive suppress_faults nosuppress_faults enable_portfaults disable_portfaults
    delay_mode_distributed delay_mode_path delay_mode_unit delay_mode_zero default_decay_time
    default_trireg_strength
    """,
)
# Comments that instruct Verilator and are allowed.
PRAGMA = re.compile(
    r"/[*/]\s*verilator\s+((full|parallel)_case|split_var|isolate_assignments|(no_)?inline_module)\s*(\*/)?"
)
TRUSTED = "if you trust the file, --trusted compiles it all the same"
# Starts of all relevant tokens. Comments and strings come first, as tokens inside them have no effect.
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<open>/\*)|(?P<triple>\"\"\")|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<quote>")"""
    r"""|(?P<escaped>\\[^ \t\n]+)|(?P<directive>`(?:``)?[A-Za-z_]\w*)|(?P<backtick>`)|(?P<task>\$[A-Za-z_][\w$]*)"""
    r"""|\b(?P<word>import|export)\b""",
    re.DOTALL,
)
OURS = re.compile(r'\$readmemh\("memory\d+\.hex", ')  # how memories are read from files that we have written
TO_STRING = re.compile(r'(?:\s|//[^\n]*\n|/\*.*?\*/|`line[^\n]*\n)*"', re.DOTALL)
FILES = ("design.v", "<built-in>", "<command-line>", "<verilated>")  # names of files in the preprocessor's output
LINE = re.compile(r'^`line\s+(\d+)\s+"([^"]*)".*$')
MARK = re.compile(r"^[ \t]*`line[^\n]*$", re.MULTILINE)


def screened(text: str, expand: Callable[[str], str], is_file: Callable[[str], bool] = lambda name: False) -> str:
    """`text` as it may be compiled.

    `expand` gives its preprocessed text, with a `line` directive at each change of file. `is_file` tells whether
    Verilator would find a file under a name.

    Raises `UserError` with the line and the name of what is refused.
    """
    text = plain(text)
    if "`" not in text:
        return _checked(text, is_file)
    for token in TOKEN.finditer(text):  # the preprocessor may access files as well
        name = token["directive"]
        if name in ("`include", "`verilator_config") or (name or "").startswith("`systemc_"):
            raise _refusal(text, token, name or "", "reads a file" if name == "`include" else "instructs the simulator")
    return _checked(expand(MARK.sub("", text)), is_file)


def screened_again(text: str) -> str:
    """Screened `text` whose memories have been moved to files of ours: what is compiled is what has been judged."""
    return _checked(text, lambda name: False, OURS)


def plain(text: str) -> str:
    """The text with uniform line ends and blanks, so that every tool sees the same lines and tokens."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ").replace("\v", " ")
    found = re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text)
    if found:
        raise UserError(
            f"the Verilog, line {text.count(chr(10), 0, found.start()) + 1}, holds the character "
            f"{found[0]!r}, expected text"
        )
    return text


def _checked(text: str, is_file: Callable[[str], bool], allowed: re.Pattern[str] | None = None) -> str:
    """`text` without comments that instruct Verilator, unless harmless; refuses all that is not on a list.

    A system task passes also if `allowed` matches its call.
    """
    parts, begin = [], 0
    for token in TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "comment":
            if "verilator" in token[0] and not PRAGMA.fullmatch(token[0]):
                parts += [text[begin : token.start()], "\n" * token[0].count("\n") or " "]
                begin = token.end()
            continue
        if kind in ("open", "triple", "quote", "backtick"):
            raise _refusal(text, token, token[0], "is a comment, a string or a directive that does not end as expected")
        if kind == "escaped" and is_file(token[0][1:]):
            raise _refusal(text, token, token[0], "is the name of a file")
        if kind == "task" and token[0] not in TASKS and not (allowed and allowed.match(text, token.start())):
            raise _refusal(text, token, token[0], "may run commands or access files")
        if kind == "directive":
            if token[0] not in DIRECTIVES:
                raise _refusal(text, token, token[0], "may read files or run commands")
            if token[0] == "`line":
                mark = LINE.match(text[token.start() :].partition("\n")[0])
                if mark is None or mark[2] not in FILES:
                    raise _refusal(text, token, "`include", "reads a file")
        if kind == "word" and TO_STRING.match(text, token.end()):
            raise _refusal(text, token, f'{token[0]} "DPI"', "calls C code")
    return "".join([*parts, text[begin:]])


def _refusal(text: str, token: re.Match[str], name: str, why: str) -> UserError:
    """The error for `token`; its line is counted from the last `line` directive before it, if any."""
    before = text[: token.start()]
    line, start = 1, 0
    for mark in MARK.finditer(before):
        numbered = LINE.match(mark[0].strip())
        if numbered and mark.end() < token.start():
            line, start = int(numbered[1]), mark.end() + 1
    line += text.count("\n", start, token.start())
    return UserError(f"the Verilog, line {line}, uses {name}, which {why}: {TRUSTED}")
