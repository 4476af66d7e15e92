"""The one-liners: what is wanted in words, and the Python expression that does it."""

import re
from dataclasses import dataclass

LISTS = ("xs", "nums", "numbers", "values", "scores", "prices", "data", "items", "ages", "points")
WORDS = ("words", "names", "lines", "titles", "tags", "files", "cities", "labels", "keys", "users")
TEXTS = ("text", "s", "line", "name", "word", "title", "message", "path", "sentence", "body")
MAPS = ("d", "totals", "config", "stock", "ratings", "ages", "lookup", "mapping", "counts", "index")


@dataclass(frozen=True, slots=True)
class Task:
    """What is wanted of a variable `{v}` (and a number `{n}`), and the expression that does it."""

    code: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    variables: tuple[str, ...] = LISTS


_LISTS_TASKS = """
sum({v})
  sum of {v}; add up all of {v}; the total of {v}; sum the list {v}; sum {v}; the sum of the
  numbers in {v}; total of all {v}; total {v}; add together the items of {v}; sum all values in
  {v}; sum the items of {v}
  = sum up {v}; total up the list {v}
sum({v}) / len({v})
  average of {v}; mean of {v}; the average of the list {v}; compute the mean of {v}; mean value of
  {v}; average value in {v}; get the average of {v}; the average {v}; find the mean of the list
  {v}; take the average of {v}
  = the mean value of {v}; average the list {v}
max({v})
  largest of {v}; the maximum of {v}; biggest value in {v}; find the max of {v}; the largest
  number in {v}; maximum value of {v}; the biggest of {v}; largest item of the list {v}; get the
  highest value in {v}; max of {v}
  = the largest value in {v}; get the maximum of the list {v}
min({v})
  smallest of {v}; the minimum of {v}; lowest value in {v}; find the min of {v}; the smallest
  number in {v}; minimum value of {v}; the lowest of {v}; smallest item of the list {v}; get the
  lowest value in {v}; min of {v}
  = the smallest value in {v}; get the minimum of the list {v}
[x * x for x in {v}]
  square every number in {v}; squares of {v}; square each item of {v}; square {v}; the square of
  each number in {v}; list of squares of {v}; all the squares of {v}; compute the squares of the
  items in {v}; squares of each of {v}; the squares of {v}; square all numbers in {v}
  = the squares of the numbers in {v}; square all of {v}
sum(x * x for x in {v})
  sum of squares of {v}; sum of the squares in {v}; add up the squares of {v}; sum of all squares
  of {v}; the sum of squared {v}; sum of squares in {v}; sum the squared numbers of {v}; total of
  the squares of {v}; add up the squares in the list {v}
  = the sum of the squares of {v}; sum the squares of {v}
[x * {n} for x in {v}]
  multiply every number in {v} by {n}; multiply {v} by {n}; each item of {v} times {n}; scale {v}
  by {n}; {v} times {n}; multiply each number in {v} by {n}; every item of {v} multiplied by {n};
  multiply all of {v} by {n}; each of {v} times {n}
  = multiply all items of {v} by {n}; every number in {v} times {n}
[x + {n} for x in {v}]
  add {n} to every number in {v}; add {n} to each item of {v}; {v} with {n} added to each;
  increase each of {v} by {n}; add {n} to all numbers in {v}; add {n} to everything in {v}; plus
  {n} for every item of {v}; increase every item of {v} by {n}; add {n} to each number of {v}
  = add {n} to all items of {v}; increase every number in {v} by {n}
[x for x in {v} if x > {n}]
  numbers in {v} greater than {n}; keep the items of {v} above {n}; filter {v} for values over
  {n}; all {v} larger than {n}; keep only numbers above {n} in {v}; items of {v} that are greater
  than {n}; values in {v} above {n}; values of {v} more than {n}; only those of {v} above {n}; get
  what is over {n} in {v}
  = values of {v} that are more than {n}; keep what is above {n} in {v}
[x for x in {v} if x < {n}]
  numbers in {v} less than {n}; keep the items of {v} below {n}; filter {v} for values under {n};
  all {v} smaller than {n}; keep only numbers below {n} in {v}; items of {v} that are smaller than
  {n}; values in {v} below {n}; values of {v} less than {n}; only those of {v} below {n}; get what
  is under {n} in {v}
  = values of {v} that are less than {n}; keep what is below {n} in {v}
[x for x in {v} if x % 2 == 0]
  even numbers in {v}; keep the even items of {v}; filter {v} for even numbers; the even values of
  {v}; only even items in {v}; get the even numbers of {v}; keep even numbers in {v}; all even
  numbers from {v}; which of {v} are even
  = only the even numbers of {v}; keep what is even in {v}
[x for x in {v} if x % 2 == 1]
  odd numbers in {v}; keep the odd items of {v}; filter {v} for odd numbers; the odd values of
  {v}; only odd items in {v}; get the odd numbers of {v}; keep odd numbers in {v}; all odd numbers
  from {v}; which of {v} are odd
  = only the odd numbers of {v}; keep what is odd in {v}
sum(x > {n} for x in {v})
  count items of {v} above {n}; how many of {v} are greater than {n}; number of values in {v} over
  {n}; count how many {v} are larger than {n}; count values in {v} greater than {n}; count the
  numbers in {v} above {n}; how many items in {v} are greater than {n}; the count of {v} over {n};
  how many values of {v} exceed {n}
  = count the values of {v} above {n}; how many items of {v} are over {n}
sorted({v})
  sort {v}; sort the list {v}; put {v} in order; {v} in ascending order; sort the numbers in {v};
  sorted {v}; order {v} from low to high; put the list {v} in ascending order; sort all of {v};
  order the items of {v}
  = order the list {v}; sort the items of {v}
sorted({v}, reverse=True)
  sort {v} descending; sort {v} in reverse; {v} from high to low; reverse sort {v}; sort the items
  of {v} in reverse; {v} in descending order; sort {v} from largest to smallest; order {v} from
  high to low; sort the list {v} descending; {v} sorted in reverse; sort {v} in reverse order
  = sort the list {v} in reverse; sort {v} from high to low
{v}[::-1]
  reverse {v}; reverse the list {v}; {v} backwards; turn {v} around; reversed {v}; flip the list
  {v}; reverse the order of {v}; reverse the items of {v}; {v} in reverse order of position; {v}
  turned backwards
  = the list {v} backwards; {v} in reversed order
list(dict.fromkeys({v}))
  remove duplicates from {v}; unique items of {v}; drop duplicates in {v}; unique values in {v};
  deduplicate {v}; remove the duplicate items of {v}; {v} without duplicates; remove all
  duplicates from {v}; only the unique {v}
  = the unique values of {v}; remove the duplicates in {v}
{v}[:{n}]
  first {n} items of {v}; take the first {n} of {v}; the first {n} elements of {v}; get the first
  {n} items of {v}; first {n} of {v}; the first {n} in the list {v}; first {n} values in {v}; the
  beginning {n} items of {v}
  = get the first {n} in {v}; the first {n} values of {v}
{v}[-{n}:]
  last {n} items of {v}; take the last {n} of {v}; the last {n} elements of {v}; get the last {n}
  items of {v}; last {n} of {v}; the last {n} in the list {v}; last {n} values in {v}; the final
  {n} items of {v}
  = get the last {n} in {v}; the last {n} values of {v}
len({v})
  length of {v}; how many items are in {v}; count the items of {v}; size of {v}; number of items
  in {v}; how long is {v}; length of the list {v}; the count of items in {v}; how many elements
  does {v} have; get the length of {v}; the number of elements of {v}
  = the number of items in {v}; how long is the list {v}
"""

_WORDS_TASKS = """
[x.upper() for x in {v}]
  upper case every word in {v}; make all {v} upper case; uppercase each of {v}; turn {v} to upper
  case; every word of {v} in upper case; {v} in upper case; upper case all words in {v}; make each
  word in {v} upper case; convert {v} to uppercase
  = turn every word in {v} upper case; all of {v} in upper case
[len(x) for x in {v}]
  lengths of {v}; the length of each word in {v}; how long each of {v} is; the lengths of the
  words in {v}; word lengths in {v}; get the length of each of {v}; lengths of all words in {v};
  length of each item in {v}; the length of every one of {v}
  = length of every word in {v}; get the lengths of the words in {v}
[x for x in {v} if len(x) > {n}]
  words in {v} longer than {n} letters; keep {v} with more than {n} letters; filter {v} for words
  longer than {n}; words longer than {n} letters in {v}; only {v} longer than {n} letters; keep
  words with over {n} letters in {v}; words of {v} that have more than {n} letters; words in {v}
  with more than {n} letters
  = keep only words longer than {n} letters in {v}; words of {v} with over {n} letters
', '.join({v})
  join {v} with commas; comma separated string of {v}; put commas between {v}; join the words in
  {v} with commas; {v} joined by commas; string of {v} separated by commas; {v} as a string with
  commas; join {v} by comma; make a comma separated string from {v}
  = join the list {v} with commas; {v} as a comma separated string
sorted({v}, key=len)
  sort {v} by length; order {v} by length; {v} from shortest to longest; sort the words of {v} by
  their length; {v} sorted by length; words in {v} from short to long; order the words in {v} by
  length; {v} from short to long
  = sort the words in {v} by length; sort {v} from short to long
max({v}, key=len)
  longest word in {v}; the longest of {v}; find the longest string in {v}; the longest word of
  {v}; which word in {v} is the longest; get the longest of {v}; longest of {v}; which of {v} is
  the longest; the word in {v} with most letters
  = get the longest word of {v}; which of {v} is longest
"""

_TEXTS_TASKS = """
{v}.split()
  split {v} into words; words of the string {v}; split the string {v} at spaces; get the words of
  {v}; list of words in {v}; split {v} at spaces; the words in the string {v}; split the string
  {v} into words; break {v} into words
  = split up {v} into its words; get the words in the string {v}
len({v}.split())
  count the words in {v}; number of words in {v}; how many words are in {v}; word count of {v};
  count words in {v}; the number of words in {v}; how many words does {v} have; count the words of
  the string {v}; how many words are in the string {v}
  = the number of words in the string {v}; count words of {v}
{v}.lower()
  lower case of {v}; make {v} lower case; convert the string {v} to lowercase; {v} in lower case;
  {v} to lowercase; turn the string {v} to lower case; lowercase {v}; lower case the string {v};
  convert {v} to lower case
  = turn {v} into lower case; the string {v} in lower case
{v} == {v}[::-1]
  check if {v} is a palindrome; is {v} a palindrome; palindrome test for {v}; test if {v} is a
  palindrome; whether {v} is a palindrome; does {v} read the same backwards; tell if the string
  {v} is a palindrome; see whether {v} is a palindrome
  = test whether {v} is a palindrome; find out if {v} is a palindrome
sum(c in 'aeiou' for c in {v})
  count the vowels in {v}; number of vowels in {v}; how many vowels are in {v}; vowel count of
  {v}; count vowels in {v}; the number of vowels in {v}; how many vowels does {v} have; count all
  vowels in the string {v}
  = the number of vowels in the string {v}; count vowels of {v}
{v}.strip()
  strip {v}; remove spaces around {v}; trim the string {v}; trim {v}; strip spaces from {v}; {v}
  without spaces around it; remove the spaces at both ends of {v}; trim {v} on both sides; trim
  spaces from {v}; strip the text {v}
  = trim spaces around {v}; strip the string {v}
"""

_MAPS_TASKS = """
{{b: a for a, b in {v}.items()}}
  swap keys and values of {v}; invert the dict {v}; flip keys and values in {v}; swap the keys and
  values of the dict {v}; turn keys into values in {v}; inverse of the dict {v}; invert {v};
  exchange keys and values in {v}; invert the mapping {v}
  = swap the keys and values in {v}; invert the dictionary {v}
max({v}, key={v}.get)
  key with the highest value in {v}; key of the largest value in dict {v}; the key with the
  largest value in {v}; which key has the highest value in {v}; find the key with the highest
  value in {v}; key of the biggest value in {v}; key with the maximum value in {v}
  = find the key with the largest value in {v}; the key of the highest value in {v}
"""

_NOTHING_TASKS = """
list(range(1, {n} + 1))
  numbers from 1 to {n}; list of numbers 1 to {n}; all numbers 1 through {n}; list the numbers
  from 1 to {n}; the numbers 1 to {n} as a list; make a list from 1 to {n}; a list of the numbers
  1 up to {n}; count from 1 to {n} in a list
  = make a list of the numbers from 1 to {n}; the numbers 1 up to {n} in a list
"""


def _read(text: str, variables: tuple[str, ...]) -> list[Task]:
    """Read tasks: a line of code, then indented wordings, those after `=` being held out."""
    tasks: list[Task] = []
    for block in re.split(r"\n(?=\S)", text.strip()):
        code, wordings = block.split("\n", 1)
        train, heldout = (_phrases(part) for part in wordings.split("\n  = "))
        tasks.append(Task(code, train, heldout, variables))
    return tasks


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


TASKS = (
    *_read(_LISTS_TASKS, LISTS),
    *_read(_WORDS_TASKS, WORDS),
    *_read(_TEXTS_TASKS, TEXTS),
    *_read(_MAPS_TASKS, MAPS),
    *_read(_NOTHING_TASKS, ("",)),
)
