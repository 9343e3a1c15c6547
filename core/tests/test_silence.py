"""Libraries are silent while files are read, by several threads too; what others say is heard."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

from omlab.errors import OmlabWarning
from omlab.silence import silent


def _warn(module, text):
    warnings.warn_explicit(text, UserWarning, filename="there.py", lineno=1, module=module)


def test_the_named_libraries_alone_are_silent():
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with silent("odd", "strange"):
            with silent("odd", "strange"):
                _warn("odd.header", "not heard")
            _warn("strange", "not heard")
            _warn("oddity", "another library")
            warnings.warn("omlab itself", OmlabWarning, stacklevel=1)
        _warn("odd.header", "heard again")
    assert [str(one.message) for one in heard] == ["another library", "omlab itself", "heard again"]
    assert list(warnings.filters) == before


def test_one_silence_may_end_within_another():
    with silent("odd"):
        with silent("odd", "strange"):
            pass
        _warn("odd", "not heard")


def test_threads_leave_the_filters_as_they_were():
    before = list(warnings.filters)

    def read(number):
        with silent("odd"):
            for _ in range(20):
                _warn("odd", f"number {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(200)))
    assert list(warnings.filters) == before


def test_loggers_are_silent(capfd):
    printing = logging.getLogger("odd.printing")
    handler = logging.StreamHandler()
    printing.addHandler(handler)
    try:
        with silent("odd", unheard=["odd.unheard"], printing=["odd.printing"]):
            logging.getLogger("odd.unheard").warning("where nobody listens")
            printing.warning("to the screen")
        assert capfd.readouterr().err == ""
        printing.warning("heard again")
        assert "heard again" in capfd.readouterr().err
    finally:
        printing.removeHandler(handler)
