"""Units and currencies: `5 km` is not `5 miles`."""

import re

from edgecache.decide.text import Word

_SIGN = re.compile(r"[%$€£¥₹₿]")
_DEGREES = re.compile(r"°\s?([CFcf])\b")
_SIGNS = {"%": "percent", "$": "dollar", "€": "euro", "£": "sterling", "¥": "yen", "₹": "rupee", "₿": "bitcoin"}

# canonical name: spelled forms; forms after `|` are too short to stand alone and count only after a number
_TABLE = """
kilometre: kilometer kilometers kilometre kilometres km kms kmh kph | k
mile: mile miles mph | mi
metre: meter meters metre metres | m
centimetre: centimeter centimeters centimetre centimetres cm cms
millimetre: millimeter millimeters millimetre millimetres mm
nanometre: nanometer nanometers nanometre nanometres nm
foot: feet | foot ft
inch: inch inches | in
yard: yards | yard yd
kilogram: kilogram kilograms kilo kilos kg kgs
gram: gram grams | g gm gms
milligram: milligram milligrams mg
microgram: microgram micrograms mcg
pound: pounds lbs lb | pound
ounce: ounce ounces oz
ton: ton tons tonne tonnes
litre: liter liters litre litres | l
millilitre: milliliter milliliters millilitre millilitres ml
gallon: gallon gallons
pint: pint pints
cup: cups
tablespoon: tablespoon tablespoons tbsp
teaspoon: teaspoon teaspoons tsp
acre: acre acres
hectare: hectare hectares
celsius: celsius centigrade | c
fahrenheit: fahrenheit | f
kelvin: kelvin
dollar: dollar dollars usd bucks
euro: euro euros eur
sterling: sterling gbp
yen: yen jpy
rupee: rupee rupees inr | rs
yuan: yuan rmb cny renminbi
franc: franc francs chf
won: krw
rouble: ruble rubles rouble roubles rub
bitcoin: bitcoin bitcoins btc
ethereum: ethereum ether eth
percent: percent percentage
degree: degrees
radian: radian radians
bit: bits | bit
byte: bytes byte
kilobyte: kilobyte kilobytes kb
megabyte: megabyte megabytes mb
gigabyte: gigabyte gigabytes gb
terabyte: terabyte terabytes tb
hertz: hz hertz
kilohertz: khz
megahertz: mhz
gigahertz: ghz
watt: watt watts
kilowatt: kilowatt kilowatts kw kwh
megawatt: megawatt megawatts mw mwh
volt: volt volts
ampere: amp amps ampere amperes
ohm: ohm ohms
joule: joule joules
calorie: calorie calories kcal
millisecond: millisecond milliseconds ms
second: seconds secs sec | second
minute: minute minutes mins | min
hour: hour hours hrs hr hourly
day: days daily | day
week: week weeks weekly
fortnight: fortnight fortnightly
month: month months monthly
year: year years yr yrs yearly annually annual
decade: decade decades
century: century centuries
am: | am
pm: | pm
"""


def _read(table: str) -> tuple[dict[str, str], dict[str, str]]:
    alone, after_number = {}, {}
    for line in table.strip().splitlines():
        unit, _, forms = line.partition(":")
        long, _, short = forms.partition("|")
        alone.update(dict.fromkeys(long.split(), unit))
        after_number.update(dict.fromkeys(short.split(), unit))
    return alone, after_number


_ALONE, _AFTER_NUMBER = _read(_TABLE)
_GLUED = re.compile(r"(\d+)([^\W\d_]*)")


def spell_degrees(normalised: str) -> str:
    """`30°C` as `30 celsius`, so that no letter is left that looks like a name."""
    return _DEGREES.sub(lambda found: " celsius " if found.group(1) in "Cc" else " fahrenheit ", normalised)


def units(normalised: str, words: tuple[Word, ...]) -> frozenset[str]:
    """Canonical names of all units in the text."""
    found = {_SIGNS[sign] for sign in _SIGN.findall(normalised)}
    number_before = False
    for word in words:
        digits, glued = _number(word.lower)
        symbol = glued if digits else word.lower
        unit = _ALONE.get(symbol) or (_AFTER_NUMBER.get(symbol) if number_before or digits else None)
        if unit:
            found.add(unit)
        number_before = digits and not glued
    return frozenset(found)


def _number(word: str) -> tuple[bool, str]:
    match = _GLUED.fullmatch(word) if word[0].isdecimal() else None
    return (True, match.group(2)) if match else (False, "")
