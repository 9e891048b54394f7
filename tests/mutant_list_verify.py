"""Single faults in what compiles, runs and judges Verilog: cache, locks, screening, walls, driver, comparison."""

from __future__ import annotations

from mutant import Mutant

_FAULTS = {
    "gradrtl/cache.py": (
        (
            "entries unchecked",
            "if not _undamaged(entry):\n                _log",
            "if not entry.is_dir():\n                _log",
            "a damaged entry is handed out",
        ),
        (
            "values unchecked",
            "if not _undamaged(entry):\n        return None",
            "if not entry.is_dir():\n        return None",
            "a damaged value is handed out",
        ),
        ("key without lengths", 'f"{name} {len(content)} ".encode() + content', "name.encode() + content", "keys meet"),
        ("leftovers stay", 'for left in cache.glob(f"{MAKING}*"):', "for left in ():", "nobody sweeps"),
        ("unlocked making", "held = lock_folder(folder)", "held = None", "a living process's folder is swept"),
        ("executable bit", ' + " x" * os.access(path, os.X_OK)', "", "a program that cannot run counts as whole"),
        ("newest removed", "key=ages.__getitem__)", "key=ages.__getitem__, reverse=True)", "not the oldest"),
        ("use does not count", "os.utime(entry)\n    except", "pass\n    except", "an entry in use ages"),
        ("use of a value does not count", "os.utime(entry)\n    try", "pass\n    try", "a value in use ages"),
        (
            "recalled without a word",
            '    _log.info("from the cache: %s", entry)\n    return found',
            "    return found",
            "explore -v does not tell of points that it knows",
        ),
        (
            "foundations do not count",
            "for name in (*names, *FOUNDATIONS):",
            "for name in names:",
            "results of other widths and checks are handed out",
        ),
        ("templates left out", 'origin.parent.rglob("*")', 'origin.parent.rglob("*.py")', "sources without templates"),
        ("full disk", "if error.errno not in STORAGE:", "if True:", "a traceback for a full disk"),
    ),
    "gradrtl/steps/place.py": (
        ("plan of other rates", '"rates": rates, ', "", "a plan for other event rates is used"),
        ("plan of another bus", '"base": base.line, ', "", "a plan for other queues and another bus is used"),
        ("plan by older sources", ' | {"sources": sources(*PLANNER)}', "", "stale plans"),
    ),
    "rtl/synthesis.py": (
        (
            "bitstream of another design",
            "    for name in WRITTEN:\n",
            "    for name in ():\n",
            "a design that does not fit leaves the bitstream of the one before",
        ),
        (
            "every large memory is block RAM",
            " %i r:RD_CLK_ENABLE>0",
            "",
            "synthesis for Gowin's devices ends with an error where a queue is not short",
        ),
    ),
    "gradrtl/commands/board.py": (
        (
            "files of another design",
            "[] if mapping is None else [(file",
            "[(file",
            "the report of a design without a plan links to the files of the one before",
        ),
    ),
    "gradrtl/steps/run.py": (
        ("figures of the run before", "        self._begin()\n", "", "an interrupted run keeps the verdict of another"),
    ),
    "gradrtl/steps/demo.py": (
        (
            "placed after the training",
            "        place(network, replace(self.wanted, pes=",
            "        Wanted(**asdict(self.wanted) | dict(pes=",
            "what no placement can do is refused after the training",
        ),
        (
            "fine-tuning unchecked",
            "epochs=self.fine_tuning, seed=self.seed)\n        require",
            "seed=self.seed)\n        require",
            "settings of the fine-tuning are refused after the training",
        ),
        ("report of any files", "sha256(folder / name) == digest", "True", "a verdict over a network never compared"),
    ),
    "gradrtl/steps/explore.py": (
        (
            "sweep ends at what does not fit",
            "        except UserError as error:\n            return",
            "        except KeyError as error:\n            return",
            "one design that does not fit ends the sweep",
        ),
        (
            "points by other libraries",
            "{sources(*packages)} {libraries()}",
            "{sources(*packages)}",
            "figures of another NumPy",
        ),
        ("points of older sources", ' | {"made from": self.made_from}', "", "figures of other data or sources"),
        ("figures of a worker", "keep=_remember, ", "", "what a worker elsewhere has found is measured again"),
    ),
    "gradrtl/locks.py": (
        ("shared lock", "fcntl.LOCK_EX | (0 if wait", "fcntl.LOCK_SH | (0 if wait", "two runs in one folder"),
        ("owner unnamed", "os.write(locked, str(os.getpid()).encode())", "pass", "who holds the folder is not told"),
        ("lock of a removed file", "if os.path.samestat(os.fstat(file), os.stat(path)):", "if True:", "two holders"),
    ),
    "gradrtl/store.py": (
        (
            "two results of one",
            "            if key in self.lines:\n                return False\n",
            "",
            "a result is kept twice",
        ),
        ("half a line stays", "os.ftruncate(self._file, self._end + len(whole))", "pass", "a line in two halves"),
        ("another file cut", "if half[: len(begins)] != begins[: len(half)]:", "if False:", "a file is cut"),
        ("results of any sources", "if sources != self.sources:", "if False:", "results of older sources count"),
        (
            "claims of the process",
            "else fcntl.F_OFD_SETLK,",
            "else fcntl.F_SETLK,",
            "a claim is lost when the file is read",
        ),
        (
            "claimed after the end",
            "        if key in self.lines:\n            self.release(key)\n            return False\n",
            "",
            "done again",
        ),
    ),
    "gradrtl/cluster.py": (
        ("no claims", "not self.store.claim(key)", "False", "two processes do the same task"),
        ("begun too late", "time.monotonic() >= self.deadline", "False", "tasks are begun after the deadline"),
        ("batch for ever", "self._alone.update(keys)", "pass", "a batch that ends its workers is tried for ever"),
        ("failures untold", "self.failed += keys", "pass", "a task without a result is not named"),
        (
            "claims stay",
            "                self.store.release(key)\n",
            "                pass\n",
            "a failed task stays claimed",
        ),
        ("nothing of others", "for result in pending.news():", "for result in ():", "others' results are not told"),
    ),
    "gradrtl/workers.py": (
        (
            "any sources",
            "_compare(worker.address, about(code, worker), expected)",
            "pass",
            "late workers are not checked",
        ),
        (
            "one death",
            '"distributed.scheduler.allowed-failures": ATTEMPTS - 1',
            '"distributed.scheduler.allowed-failures": 0',
            "a task whose worker was killed has no result",
        ),
        (
            "workers interrupted",
            "signal.signal(signal.SIGINT, signal.SIG_IGN)",
            "pass",
            "Ctrl-C ends workers as they compute",
        ),
    ),
    "gradrtl/steps/sweep.py": (
        (
            "accuracy of what was trained on",
            "config.held_out, config.held_out_group)[1])",
            "config.held_out, config.held_out_group)[0])",
            "settings are chosen by images that were trained on",
        ),
        (
            "the limit overwritten",
            '| {"connectivity": "connectivity_limit"}',
            "",
            "the limit of connectivity is missing from the table",
        ),
        (
            "epochs dropped",
            'require(not asked, "epochs"',
            'require(True, "epochs"',
            "epochs without fine-tuning change nothing, without a word",
        ),
        ("any front", "if not best or row.accuracy > best[-1].accuracy:", "if True:", "all rows are on the front"),
    ),
    "gradrtl/steps/tune.py": (
        ("seed of none", "search.seed * 100_003 + rank)", "search.seed)", "all trials of the start are the same"),
        ("linear rates", "self.low > 0 and self.high / self.low >= 10", "False", "small rates are hardly tried"),
    ),
    "gradrtl/processes.py": (
        ("lives on", "prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)})", "prctl({PR_SET_PDEATHSIG}, 0)", "an orphan"),
    ),
    "sim/screening.py": (
        ("any task", "token[0] not in TASKS", 'token[0] == "$system"', "$c and $fopen pass"),
        (
            "macros unexpanded",
            '_checked(expand(MARK.sub("", text)), is_file)',
            "_checked(text, is_file)",
            "as it stands",
        ),
        ("escaped names", "|(?P<escaped>\\\\[^ \\t\\n]+)|", "|(?P<escaped>none)|", "an escaped name opens a comment"),
        ("included file", "if mark is None or mark[2] not in FILES:", "if mark is None:", "an included file passes"),
        (
            "DPI behind a comment",
            "TO_STRING.match(text, token.end())",
            "text[token.end()] == '\"'",
            "imports of C pass",
        ),
        ("carriage return", '.replace("\\r", "\\n").replace("\\f"', '.replace("\\f"', "a comment hides a line"),
        ("instructions", 'if "verilator" in token[0] and not', "if False and not", "comments instruct Verilator"),
    ),
    "sim/confinement.py": (
        ("no limit of memory", "(limits.memory, limits.seconds,", "(1 << 60, limits.seconds,", "tools take all memory"),
        ("time untold", "number == signal.SIGXCPU", "number == signal.SIGXFSZ", "a limit of time has no message"),
        ("walls inverted", "if not walls >> index & 1", "if walls >> index & 1", "standing walls are called missing"),
    ),
    "sim/templates/launch.cpp": (
        ("children live on", "if (tool > 0) kill(-tool, SIGKILL);", "if (tool > 0) kill(tool, SIGKILL);", "orphans"),
    ),
    "sim/templates/confine.h": (
        ("writes in its folder", "beneath = {(1 << 2) | (1 << 3), -1};", "beneath = {handled, -1};", "files are made"),
        ("no wall around files", "if (only_this_folder()) walls", "if (true) walls", "files can be read"),
        ("every call", "answer(SECCOMP_RET_ERRNO | EPERM)", "answer(SECCOMP_RET_ALLOW)", "processes can be started"),
    ),
    "sim/templates/driver.cpp": (
        ("no nonce", "    verdict.nonce = setup.nonce;\n", "", "the verdict names no run"),
        ("prints reach results", "    confinement::silence();\n", "", "what is printed mixes with results"),
        ("frames uncounted", "verdict.frames = ++written;", "++written;", "frames that came back are not told"),
        ("spikes uncounted", "verdict.spikes += shown;", "verdict.spikes += 1;", "a wrong count"),
        (
            "membranes uncompared",
            "if (!spike && expected.membranes[at] == got.membranes[at]) continue;",
            "if (!spike) continue;",
            "spikes alone are compared",
        ),
        ("withdrawn beat", "} else if (packet.waiting) {", "} else if (false) {", "valid may fall without ready"),
        ("unstable data", "packet.data == *ports.m_axis_tdata && ", "", "data may change while it waits"),
        (
            "frames apart too soon",
            "finished.empty() && cycle > last_progress + setup.gap;",
            "finished.empty();",
            "a frame comes while cores work ahead",
        ),
        ("no tail", "cycle - last_progress >= TAIL_CYCLES", "true", "a packet after the last is not seen"),
        ("lost rows", "if (lacks > 0)", "if (false)", "a row that was never updated"),
        ("membranes unsigned", "int32_t(int64_t(window >>", "int32_t(uint64_t(window >>", "negative membranes"),
    ),
    "sim/records.py": (
        ("fields in another order", "for field in dtype.names)", "for field in sorted(dtype.names))", "C++ differs"),
        ("by position", "tuple(fields[name] for name in dtype.names)", "tuple(fields.values())", "order of arguments"),
    ),
    "sim/driving.py": (
        ("rest without synapses", "return REST + most", "return REST", "a frame comes while a core adds up ahead"),
        ("exit code unchecked", "or code != 0 or", "or", "a driver that fails is believed"),
        ("nonce unchecked", 'found["nonce"] != self._nonce or', "", "a verdict of another run is believed"),
        ("frames unchecked", "if frames != asked or written", "if written", "fewer frames count as all"),
        (
            "results unchecked",
            "if frames != asked or written != asked * self._result.itemsize:",
            "if frames != asked:",
            "results that are cut off count as all",
        ),
        ("membranes unchecked", "if spikes != membranes or not", "if not", "fewer"),
        ("never confined", "confined=not model.trusted", "confined=False", "no design is confined"),
        ("always confined", "confined=not model.trusted", "confined=True", "--trusted does nothing"),
    ),
    "rtl/frame_words.py": (
        ("end of step", "source == sources, 1 << MARK_BIT", "source == 0, 1 << MARK_BIT", "the mark of a step's end"),
        (
            "mark of a step for pixels",
            "(step == 0) << HELD_BIT",
            "(step < 0) << HELD_BIT",
            "the pixels' mark",
        ),
        ("counts missing", "if graded else 0", "if False else 0", "graded events are spikes"),
        ("pixels side by side", "-(-sources // pixels)", "sources // pixels", "no word for the last pixels"),
        ("frames in one", "np.arange(1, count)", "np.arange(2, count)", "words of two frames in one"),
    ),
    "sim/verify.py": (
        ("no frames", "require(count >= 1", "require(count >= 0", "equal: 0 frames"),
        ("flags uncompared", "part.outcome.flagged.any()", "False", "a frame called malformed counts as right"),
        ("digests uncompared", "    header.check(found, mapping, front_end)\n", "", "another network's Verilog"),
        ("frame of a share", "frame=results.frame + begin)", "frame=results.frame)", "the wrong frame is named"),
        ("long runs as others", "long = log is not None and not quick", "long = False", "many minutes more"),
        ("nothing is kept", "self.log.add(self.frames, part_done.piece)", "pass", "an interrupted run begins anew"),
        (
            "known pieces are left out",
            "    known |= {part.number: part.piece for part in done}\n",
            "    known = {part.number: part.piece for part in done}\n",
            "frames of earlier runs are missing in the result",
        ),
        (
            "stalls do not count",
            '"mapping": mapping.digest, "stalls": repr(stalls), "apart": apart}',
            '"mapping": mapping.digest}',
            "results with other stalls, or of frames sent apart, are taken",
        ),
        ("frames behind a difference", "if number <= last]", "if True]", "classes of later frames stand in for others"),
        (
            "pieces behind a difference",
            "        if self.first_failed < number:\n            return None\n        network",
            "        network",
            "every later piece is simulated before it stops",
        ),
        ("Verilog does not count", 'made_from = {"verilog": text, ', "made_from = {", "results of another text"),
    ),
    "sim/pieces.py": (
        ("frames by number", 'return f"{begin} {sha.hexdigest()}"', 'return f"{begin}"', "results of other frames"),
        ("any length", "value, 0, LARGEST, end - begin)", "value, 0, LARGEST)", "a damaged piece counts"),
        ("any frames", 'given["begin"], begin, begin)', 'given["begin"], 0, LARGEST)', "a piece of others counts"),
        ("sources do not count", '"sources": sources(*GENERATOR, "gradrtl.sim")', '"sources": 0', "stale results"),
    ),
    "sim/compare.py": (
        ("classes uncompared", "unequal = sums.any(axis=1) | classes", "unequal = sums.any(axis=1)", "sums alone"),
        ("membrane first", 'difference.quantity == "membrane")', 'difference.quantity != "membrane")', "order"),
    ),
    "sim/toolchain.py": (
        ("misfitting ports", 'or any(re.match(r"%Warning-', 'or False and any(re.match(r"%Warning-', "other widths"),
        ("unscreened", "split_memories(design) if limits is None", "split_memories(design) if True", "hostile Verilog"),
        ("screened once", "screened_again(text), memories", "text, memories", "moved memories make code of comments"),
        ("files by name", 'return "/" in name and any(', "return False and any(", "files are read as modules"),
        ("files unchecked", "name not in OWN_FILES and not own", "False", "a file has been read as a module"),
        ("trust is kept", '"trusted": str(trusted), ', "", "what was trusted once passes from then on"),
    ),
    "sim/generated.py": (("command not in the key", '"command": command, ', "", "the text names another command"),),
}
VERIFY = tuple(Mutant(name, file, *fault) for file, faults in _FAULTS.items() for name, *fault in faults)
