# SPDX-License-Identifier: MIT
"""Figures of matplotlib as files: what `show` would show, and what is left open at the end.

Nothing of matplotlib is imported here: a stage that does so is seen doing it.
"""
import os
import sys

PYPLOT = "matplotlib.pyplot"


class Figures:
    """Numbered files in the directory in which the stage began."""

    def __init__(self):
        self.directory = os.getcwd()
        self.count = 0

    def new_path(self):
        """The next number that has no file: the stage may have files of such names."""
        while True:
            self.count += 1
            path = os.path.join(self.directory, "figure-%d.png" % self.count)
            if not os.path.lexists(path):
                return path

    def write(self, pyplot):
        for number in pyplot.get_fignums():
            path = self.new_path()
            try:
                pyplot.figure(number).savefig(path, format="png")
            except BaseException:
                if os.path.lexists(path):
                    os.unlink(path)
                raise

    def take_over(self, pyplot):
        """Has it show by files. (It sets attributes of its show: a plain function takes them.)"""

        def show(*args, **kwargs):
            """Write the open figures; they are closed then, as windows would be."""
            self.write(pyplot)
            pyplot.close("all")

        pyplot.show = show

    def finish(self, write):
        """The answer is out by now: what goes wrong is for the log."""
        pyplot = sys.modules.get(PYPLOT)
        if pyplot is None:
            return
        try:
            self.write(pyplot)
        except BaseException as error:
            line = "a figure could not be written: %s: %s\n" % (type(error).__name__, error)
            write(2, line.encode("utf-8", "backslashreplace"))


class Watch:
    """Among the finders of modules: has pyplot, when it is imported, show by files."""

    def __init__(self, figures):
        self.figures = figures
        self.asking = False

    def find_spec(self, name, path=None, target=None):
        if name != PYPLOT or self.asking:
            return None
        from importlib.util import find_spec

        self.asking = True
        try:
            spec = find_spec(name)
        finally:
            self.asking = False
        execute = getattr(spec and spec.loader, "exec_module", None)
        if execute is not None:

            def exec_module(module):
                execute(module)
                self.figures.take_over(module)

            spec.loader.exec_module = exec_module
        return spec


def install():
    """Begins to watch; the function to call when the answer is out."""
    figures = Figures()
    if PYPLOT in sys.modules:
        figures.take_over(sys.modules[PYPLOT])
    sys.meta_path.insert(0, Watch(figures))
    return figures.finish
