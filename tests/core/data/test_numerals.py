"""What files write as numbers is read as these numbers, and nothing else is."""

import math

import pytest

from ead_core.data.numerals import parse_float, parse_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("5", 5), ("-12", -12), ("+1", 1), ("0", 0), ("9223372036854775807", 2**63 - 1)],
        *[("0.5", 0.5), ("-.5", -0.5), ("5.", 5.0), ("1e5", 1e5), ("1E-05", 1e-5), ("+2.5e+3", 2500.0)],
        *[("1.0D-01", 0.1), ("-0.25d+02", -25.0), ("1.5*^-6", 1.5e-6), ("100000000000000000000", 1e20)],
    ],
)
def test_numbers(text, number):
    assert parse_number(text) == number
    assert type(parse_number(text)) is type(number)


@pytest.mark.parametrize(
    "text",
    [
        *["007", "00", "-01", "00.5", "12_3", "1_0.5", "99999999999999999999", "9" * 5000, "1e999"],  # codes
        *["0,25", "1,234.5", "1.234,5", "0.25 Hartree", "1.69D", "25%", "1D10", "0x10", "1.2.3", "1/2", "2-3"],
        *["", ".", "e5", "-", "N/A", "None", "true", "٣", "５", "−5", "1 000"],
    ],
)
def test_what_is_no_number(text):
    assert parse_number(text) is None


def test_not_a_number_and_infinity_are_floats():
    assert math.isnan(parse_number("NaN"))
    assert (parse_number("inf"), parse_number("-Infinity")) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("-0.8544D+00", -0.8544),
        ("1.5*^-6", 1.5e-6),
        ("1d3", 1000.0),
        ("00.50", 0.5),
        ("7", 7.0),
        ("0.25-101", 2.5e-102),
    ],
)
def test_coordinates(word, value):
    assert parse_float(word) == value


@pytest.mark.parametrize("word", ["1_0", "0,5", "C", "", "1.0.0", "١.5", "*****", "1.5e"])
def test_what_is_no_coordinate(word):
    with pytest.raises(ValueError, match="could not convert"):
        parse_float(word)
