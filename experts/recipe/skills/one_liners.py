"""The one-liners: what is wanted in words, and the Python expression that does it."""

import re
from dataclasses import dataclass

from experts.recipe.skills import heldout
from experts.recipe.skills.one_liners_asked import more, worded
from experts.recipe.wording import apart

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
  add {v} together; the sum total of {v}; add all the numbers in {v}; calculate the sum of {v};
  get the sum of the values in {v}; everything in {v} added together; what is the total of {v};
  what do the numbers in {v} add up to;
  sum of {v}; add up all of {v}; the total of {v}; sum the list {v}; sum {v}; the sum of the
  numbers in {v}; total of all {v}; total {v}; add together the items of {v}; sum all values in
  {v}; sum the items of {v}; sum up {v}; total up the list {v}
sum({v}) / len({v})
  calculate the average of {v}; work out the mean of {v}; what is the average of {v}; average of
  all numbers in {v}; average the values in {v}; average {v}; the mean of the numbers in {v}; mean
  of all items in {v}; average number in {v};
  average of {v}; mean of {v}; the average of the list {v}; compute the mean of {v}; mean value of
  {v}; average value in {v}; get the average of {v}; the average {v}; find the mean of the list
  {v}; take the average of {v}; the mean value of {v}; average the list {v}
max({v})
  the highest number in {v}; highest value of {v}; what is the largest number in {v}; which number
  in {v} is the biggest; find the largest item of {v}; greatest value in {v}; the greatest of {v};
  pick the biggest number from {v}; highest of {v}; largest of {v}; the maximum of {v}; biggest
  value in {v}; find the max of {v}; the largest number in {v}; maximum value of {v}; the biggest
  of {v}; largest item of the list {v}; get the highest value in {v}; max of {v}; the largest
  value in {v}; get the maximum of the list {v}
min({v})
  the lowest number in {v}; lowest value of {v}; what is the smallest number in {v}; which number
  in {v} is the smallest; find the smallest item of {v}; the least value in {v}; the minimum value
  in {v}; pick the smallest number from {v}; lowest of {v}; smallest of {v}; the minimum of {v};
  lowest value in {v}; find the min of {v}; the smallest number in {v}; minimum value of {v}; the
  lowest of {v}; smallest item of the list {v}; get the lowest value in {v}; min of {v}; the
  smallest value in {v}; get the minimum of the list {v}
[x * x for x in {v}]
  a list with the square of each item of {v}; every item of {v} squared; {v} squared; each number
  in {v} squared; list the squares of {v}; raise each number in {v} to the power of two; each of
  {v} times itself; multiply each item of {v} by itself;
  square every number in {v}; squares of {v}; square each item of {v}; square {v}; the square of
  each number in {v}; list of squares of {v}; all the squares of {v}; compute the squares of the
  items in {v}; squares of each of {v}; the squares of {v}; square all numbers in {v}; the squares
  of the numbers in {v}; square all of {v}
sum(x * x for x in {v})
  square the numbers in {v} and add them up; square each of {v} and sum; the total of all squares
  of {v}; calculate the sum of squares of {v}; what is the sum of the squares of {v}; sum up the
  squares of {v}; squares of {v} added together; add the squares of all items in {v}; the sum of
  all squared numbers in {v};
  sum of squares of {v}; sum of the squares in {v}; add up the squares of {v}; sum of all squares
  of {v}; the sum of squared {v}; sum of squares in {v}; sum the squared numbers of {v}; total of
  the squares of {v}; add up the squares in the list {v}; the sum of the squares of {v}; sum the
  squares of {v}
[x * {n} for x in {v}]
  all of {v} multiplied by {n}; multiply the items of {v} by {n}; multiply each item of the list
  {v} by {n}; scale every item of {v} by {n}; a list with each of {v} times {n}; {v} multiplied by
  {n}; take each number in {v} times {n}; multiply everything in {v} by {n};
  multiply every number in {v} by {n}; multiply {v} by {n}; each item of {v} times {n}; scale {v}
  by {n}; {v} times {n}; multiply each number in {v} by {n}; every item of {v} multiplied by {n};
  multiply all of {v} by {n}; each of {v} times {n}; multiply all items of {v} by {n}; every
  number in {v} times {n}
[x + {n} for x in {v}]
  increase each number in {v} by {n}; raise every value in {v} by {n}; each item of {v} plus {n};
  every number in {v} plus {n}; {v} with each item plus {n}; a list with {n} added to each of {v};
  add {n} to all of {v}; increase all of {v} by {n};
  add {n} to every number in {v}; add {n} to each item of {v}; {v} with {n} added to each;
  increase each of {v} by {n}; add {n} to all numbers in {v}; add {n} to everything in {v}; plus
  {n} for every item of {v}; increase every item of {v} by {n}; add {n} to each number of {v}; add
  {n} to all items of {v}; increase every number in {v} by {n}
[x for x in {v} if x > {n}]
  numbers above {n} in {v}; list the items of {v} over {n}; select values of {v} greater than {n};
  which numbers in {v} are above {n}; which of {v} are greater than {n}; find all numbers in {v}
  over {n}; the items of {v} bigger than {n}; a list of the values in {v} higher than {n}; {v} but
  only values above {n}; filter {v} to numbers greater than {n}; drop everything in {v} that is
  not above {n};
  numbers in {v} greater than {n}; keep the items of {v} above {n}; filter {v} for values over
  {n}; all {v} larger than {n}; keep only numbers above {n} in {v}; items of {v} that are greater
  than {n}; values in {v} above {n}; values of {v} more than {n}; only those of {v} above {n}; get
  what is over {n} in {v}; values of {v} that are more than {n}; keep what is above {n} in {v}
[x for x in {v} if x < {n}]
  numbers below {n} in {v}; list the items of {v} under {n}; select values of {v} less than {n};
  which numbers in {v} are below {n}; which of {v} are smaller than {n}; find all numbers in {v}
  under {n}; the items of {v} smaller than {n}; a list of the values in {v} lower than {n}; {v}
  but only values below {n}; filter {v} to numbers less than {n}; drop everything in {v} that is
  not below {n};
  numbers in {v} less than {n}; keep the items of {v} below {n}; filter {v} for values under {n};
  all {v} smaller than {n}; keep only numbers below {n} in {v}; items of {v} that are smaller than
  {n}; values in {v} below {n}; values of {v} less than {n}; only those of {v} below {n}; get what
  is under {n} in {v}; values of {v} that are less than {n}; keep what is below {n} in {v}
[x for x in {v} if x % 2 == 0]
  list the even numbers of {v}; select the even numbers from {v}; find the even numbers in {v};
  find all even items of {v}; the even ones in {v}; filter the even numbers from {v}; all even
  values in {v}; numbers in {v} that are even; {v} but only the even numbers; a list of the even
  items of {v};
  even numbers in {v}; keep the even items of {v}; filter {v} for even numbers; the even values of
  {v}; only even items in {v}; get the even numbers of {v}; keep even numbers in {v}; all even
  numbers from {v}; which of {v} are even; only the even numbers of {v}; keep what is even in {v}
[x for x in {v} if x % 2 == 1]
  list the odd numbers of {v}; select the odd numbers from {v}; find the odd numbers in {v}; find
  all odd items of {v}; the odd ones in {v}; filter the odd numbers from {v}; all odd values in
  {v}; numbers in {v} that are odd; {v} but only the odd numbers; a list of the odd items of {v};
  odd numbers in {v}; keep the odd items of {v}; filter {v} for odd numbers; the odd values of
  {v}; only odd items in {v}; get the odd numbers of {v}; keep odd numbers in {v}; all odd numbers
  from {v}; which of {v} are odd; only the odd numbers of {v}; keep what is odd in {v}
sum(x > {n} for x in {v})
  how many numbers in {v} are above {n}; count of values in {v} above {n}; the number of items in
  {v} greater than {n}; count the items of {v} that are greater than {n}; count {v} above {n}; how
  many of {v} are bigger than {n}; the number of values in {v} larger than {n}; count everything
  in {v} over {n}; tally the values of {v} above {n};
  count items of {v} above {n}; how many of {v} are greater than {n}; number of values in {v} over
  {n}; count how many {v} are larger than {n}; count values in {v} greater than {n}; count the
  numbers in {v} above {n}; how many items in {v} are greater than {n}; the count of {v} over {n};
  how many values of {v} exceed {n}; count the values of {v} above {n}; how many items of {v} are
  over {n}
sorted({v})
  sort {v} ascending; sort {v} in ascending order; the sorted list {v}; arrange {v} in order;
  order {v}; {v} from low to high; {v} sorted from low to high; put the numbers in {v} in
  ascending order; {v} in increasing order; sort {v}; sort the list {v}; put {v} in order; {v} in
  ascending order; sort the numbers in {v}; sorted {v}; order {v} from low to high; put the list
  {v} in ascending order; sort all of {v}; order the items of {v}; order the list {v}; sort the
  items of {v}
sorted({v}, reverse=True)
  sort {v} in descending order; {v} sorted descending; {v} sorted from high to low; arrange {v} in
  descending order; order {v} descending; order the items of {v} from largest to smallest; {v}
  from largest to smallest; sort the numbers in {v} from high to low; put {v} in descending order;
  {v} in decreasing order; sort {v} with the largest first;
  sort {v} descending; sort {v} in reverse; {v} from high to low; reverse sort {v}; sort the items
  of {v} in reverse; {v} in descending order; sort {v} from largest to smallest; order {v} from
  high to low; sort the list {v} descending; {v} sorted in reverse; sort {v} in reverse order;
  sort the list {v} in reverse; sort {v} from high to low
{v}[::-1]
  {v} reversed; flip {v}; flip the order of {v}; the items of {v} back to front; {v} from last
  item to first; {v} from the end to the start; get {v} backwards; list {v} with the last item
  first; turn the list {v} around; reverse {v}; reverse the list {v}; {v} backwards; turn {v}
  around; reversed {v}; flip the list {v}; reverse the order of {v}; reverse the items of {v}; {v}
  in reverse order of position; {v} turned backwards; the list {v} backwards; {v} in reversed order
list(dict.fromkeys({v}))
  get rid of duplicates in {v}; each item of {v} only once; keep each item of {v} once; list the
  unique values of {v}; unique {v}; the unique items of the list {v}; drop repeated items from
  {v}; remove repeated values from {v}; {v} with duplicates removed; dedupe {v}; delete the
  duplicates in {v};
  remove duplicates from {v}; unique items of {v}; drop duplicates in {v}; unique values in {v};
  deduplicate {v}; remove the duplicate items of {v}; {v} without duplicates; remove all
  duplicates from {v}; only the unique {v}; the unique values of {v}; remove the duplicates in {v}
{v}[:{n}]
  get the first {n} of {v}; give the first {n} items of {v}; {v} up to the first {n} items; first
  {n} elements of {v}; only the first {n} of {v}; keep the first {n} items of {v}; slice the first
  {n} items from {v}; take {n} items from the start of {v}; the leading {n} items of {v}; the
  initial {n} elements of {v};
  first {n} items of {v}; take the first {n} of {v}; the first {n} elements of {v}; get the first
  {n} items of {v}; first {n} of {v}; the first {n} in the list {v}; first {n} values in {v}; the
  beginning {n} items of {v}; get the first {n} in {v}; the first {n} values of {v}
{v}[-{n}:]
  get the last {n} of {v}; give the last {n} items of {v}; last {n} elements of {v}; only the last
  {n} of {v}; keep the last {n} items of {v}; slice the last {n} items from {v}; take {n} items
  from the end of {v}; the {n} items at the end of {v}; the final {n} elements of {v}; the ending
  {n} items of {v};
  last {n} items of {v}; take the last {n} of {v}; the last {n} elements of {v}; get the last {n}
  items of {v}; last {n} of {v}; the last {n} in the list {v}; last {n} values in {v}; the final
  {n} items of {v}; get the last {n} in {v}; the last {n} values of {v}
len({v})
  how many elements are in {v}; how many items does {v} have; how many items does the list {v}
  hold; the size of {v}; the length of {v}; number of elements in {v}; count the elements of {v};
  count all items in {v}; how many things are in {v}; item count of {v}; what is the length of
  {v};
  length of {v}; how many items are in {v}; count the items of {v}; size of {v}; number of items
  in {v}; how long is {v}; length of the list {v}; the count of items in {v}; how many elements
  does {v} have; get the length of {v}; the number of elements of {v}; the number of items in {v};
  how long is the list {v}
"""

_WORDS_TASKS = """
[x.upper() for x in {v}]
  uppercase every word in {v}; uppercase {v}; capital letters for every word in {v}; put all {v}
  in capital letters; {v} in capitals; convert each word in {v} to upper case; change all of {v}
  to upper case; a list of {v} in upper case; turn every item of {v} into upper case; each of {v}
  in capital letters;
  upper case every word in {v}; make all {v} upper case; uppercase each of {v}; turn {v} to upper
  case; every word of {v} in upper case; {v} in upper case; upper case all words in {v}; make each
  word in {v} upper case; convert {v} to uppercase; turn every word in {v} upper case; all of {v}
  in upper case
[len(x) for x in {v}]
  list the lengths of {v}; a list of the lengths of {v}; the length of each of {v}; how many
  letters each of {v} has; number of letters in each of {v}; how long every word in {v} is; letter
  count of each item in {v}; the lengths of all {v}; count the letters of each word in {v};
  lengths of {v}; the length of each word in {v}; how long each of {v} is; the lengths of the
  words in {v}; word lengths in {v}; get the length of each of {v}; lengths of all words in {v};
  length of each item in {v}; the length of every one of {v}; length of every word in {v}; get the
  lengths of the words in {v}
[x for x in {v} if len(x) > {n}]
  words in {v} with over {n} letters; only words in {v} longer than {n}; keep the words of {v}
  longer than {n} letters; find words in {v} with more than {n} letters; which words in {v} are
  longer than {n} letters; which of {v} have more than {n} letters; list {v} longer than {n}
  letters; select words of {v} longer than {n} letters; filter {v} by length over {n}; items of
  {v} with length greater than {n}; strings in {v} with more than {n} characters;
  words in {v} longer than {n} letters; keep {v} with more than {n} letters; filter {v} for words
  longer than {n}; words longer than {n} letters in {v}; only {v} longer than {n} letters; keep
  words with over {n} letters in {v}; words of {v} that have more than {n} letters; words in {v}
  with more than {n} letters; keep only words longer than {n} letters in {v}; words of {v} with
  over {n} letters
', '.join({v})
  join {v} using commas; join the list {v} with a comma; {v} separated by commas; {v} separated
  with commas; list {v} with commas in one string; combine {v} with commas; one string of {v} with
  commas between; turn {v} into a comma separated string; write {v} as comma separated text;
  commas between the words of {v}; join all of {v} into one string with commas;
  join {v} with commas; comma separated string of {v}; put commas between {v}; join the words in
  {v} with commas; {v} joined by commas; string of {v} separated by commas; {v} as a string with
  commas; join {v} by comma; make a comma separated string from {v}; join the list {v} with
  commas; {v} as a comma separated string
sorted({v}, key=len)
  sort {v} by word length; sort the list {v} by length; sort {v} from shortest to longest; arrange
  {v} by length; order {v} from short to long; {v} in order of length; {v} ordered by length;
  order {v} by number of letters; sort {v} with the shortest first; sort the words in {v} by
  number of letters; put {v} in order of length;
  sort {v} by length; order {v} by length; {v} from shortest to longest; sort the words of {v} by
  their length; {v} sorted by length; words in {v} from short to long; order the words in {v} by
  length; {v} from short to long; sort the words in {v} by length; sort {v} from short to long
max({v}, key=len)
  find the longest word in {v}; find the longest of {v}; get the longest word from {v}; the
  longest string in {v}; what is the longest word in {v}; longest item of {v}; longest string of
  {v}; pick the longest word of {v}; the word in {v} with the most letters; the item of {v} with
  the most letters; the biggest word in {v} by length;
  longest word in {v}; the longest of {v}; find the longest string in {v}; the longest word of
  {v}; which word in {v} is the longest; get the longest of {v}; longest of {v}; which of {v} is
  the longest; the word in {v} with most letters; get the longest word of {v}; which of {v} is
  longest
"""

_TEXTS_TASKS = """
{v}.split()
  split {v} by spaces; split {v} on spaces; split up {v} into words; separate {v} into words; cut
  {v} into words; divide the string {v} into words; turn {v} into a list of words; a list of the
  words of {v}; list the words of {v}; each word of {v} in a list; the separate words of {v};
  split {v} into words; words of the string {v}; split the string {v} at spaces; get the words of
  {v}; list of words in {v}; split {v} at spaces; the words in the string {v}; split the string
  {v} into words; break {v} into words; split up {v} into its words; get the words in the string {v}
len({v}.split())
  how many words {v} has; how many words are there in {v}; the word count of {v}; word count for
  the string {v}; count all words of {v}; the count of words in {v}; number of words in the string
  {v}; get the number of words in {v}; tell how many words {v} has; how many words the string {v}
  contains; what is the word count of {v};
  count the words in {v}; number of words in {v}; how many words are in {v}; word count of {v};
  count words in {v}; the number of words in {v}; how many words does {v} have; count the words of
  the string {v}; how many words are in the string {v}; the number of words in the string {v};
  count words of {v}
{v}.lower()
  {v} in lowercase; {v} in small letters; change {v} to lower case; make the string {v} lowercase;
  put {v} in lower case; lower all letters of {v}; lower the case of {v}; all letters of {v} in
  lower case; write {v} in small letters; lower case version of {v};
  lower case of {v}; make {v} lower case; convert the string {v} to lowercase; {v} in lower case;
  {v} to lowercase; turn the string {v} to lower case; lowercase {v}; lower case the string {v};
  convert {v} to lower case; turn {v} into lower case; the string {v} in lower case
{v} == {v}[::-1]
  check whether {v} is a palindrome; test whether the string {v} is a palindrome; is the string
  {v} a palindrome; palindrome check for {v}; check {v} for being a palindrome; see if {v} reads
  the same both ways; whether {v} reads the same backwards and forwards; is {v} the same
  backwards; true if {v} is a palindrome; check that {v} equals its reverse;
  check if {v} is a palindrome; is {v} a palindrome; palindrome test for {v}; test if {v} is a
  palindrome; whether {v} is a palindrome; does {v} read the same backwards; tell if the string
  {v} is a palindrome; see whether {v} is a palindrome; test whether {v} is a palindrome; find out
  if {v} is a palindrome
sum(c in 'aeiou' for c in {v})
  count the vowels of the string {v}; the count of vowels in {v}; vowels in {v}, how many; how
  many vowels {v} has; how many vowels are there in {v}; get the number of vowels in {v}; number
  of vowels in the string {v}; tally the vowels in {v}; what is the number of vowels in {v}; how
  many letters of {v} are vowels;
  count the vowels in {v}; number of vowels in {v}; how many vowels are in {v}; vowel count of
  {v}; count vowels in {v}; the number of vowels in {v}; how many vowels does {v} have; count all
  vowels in the string {v}; the number of vowels in the string {v}; count vowels of {v}
{v}.strip()
  strip the spaces around {v}; strip whitespace from {v}; remove whitespace around {v}; remove the
  leading and trailing spaces of {v}; cut the spaces at both ends of {v}; drop spaces at the start
  and end of {v}; trim whitespace from {v}; trim the ends of {v}; {v} with no spaces at the ends;
  clean the spaces around {v};
  strip {v}; remove spaces around {v}; trim the string {v}; trim {v}; strip spaces from {v}; {v}
  without spaces around it; remove the spaces at both ends of {v}; trim {v} on both sides; trim
  spaces from {v}; strip the text {v}; trim spaces around {v}; strip the string {v}
"""

_MAPS_TASKS = """
{{b: a for a, b in {v}.items()}}
  swap the keys and values of {v}; reverse the keys and values of {v}; {v} with keys and values
  swapped; the dict {v} with values as keys; make the values of {v} the keys; turn the values of
  {v} into keys; exchange the keys and values of the dict {v}; switch keys and values of {v}; a
  dict from values to keys of {v}; the inverse mapping of {v};
  swap keys and values of {v}; invert the dict {v}; flip keys and values in {v}; swap the keys and
  values of the dict {v}; turn keys into values in {v}; inverse of the dict {v}; invert {v};
  exchange keys and values in {v}; invert the mapping {v}; swap the keys and values in {v}; invert
  the dictionary {v}
max({v}, key={v}.get)
  the key with the highest value in {v}; the key of the largest value in {v}; get the key with the
  biggest value in {v}; which key of {v} has the largest value; which key in {v} has the biggest
  value; find the key of the maximum value in {v}; key with the largest value in the dict {v}; the
  key in {v} that has the highest value; key in {v} with the greatest value; the key for the
  highest value in {v}; what key has the maximum value in {v};
  key with the highest value in {v}; key of the largest value in dict {v}; the key with the
  largest value in {v}; which key has the highest value in {v}; find the key with the highest
  value in {v}; key of the biggest value in {v}; key with the maximum value in {v}; find the key
  with the largest value in {v}; the key of the highest value in {v}
"""

_NOTHING_TASKS = """
list(range(1, {n} + 1))
  the numbers from 1 to {n}; the list of numbers from 1 to {n}; numbers 1 to {n}; numbers 1
  through {n}; a list from 1 to {n}; a list of 1 to {n}; list all numbers from 1 up to {n}; list
  with the numbers 1 to {n}; get the numbers from 1 to {n}; every number from 1 to {n}; integers
  from 1 to {n}; whole numbers from 1 to {n} in a list; count up from 1 to {n}; create a list of
  the numbers 1 to {n};
  numbers from 1 to {n}; list of numbers 1 to {n}; all numbers 1 through {n}; list the numbers
  from 1 to {n}; the numbers 1 to {n} as a list; make a list from 1 to {n}; a list of the numbers
  1 up to {n}; count from 1 to {n} in a list; make a list of the numbers from 1 to {n}; the
  numbers 1 up to {n} in a list
"""


def _read(text: str, variables: tuple[str, ...], kind: str) -> list[Task]:
    """Read tasks: a line of code, then indented wordings for training."""
    tasks: list[Task] = []
    for block in re.split(r"\n(?=\S)", text.strip()):
        code, wordings = block.split("\n", 1)
        unseen = heldout.PYTHON_TASKS[code]
        said = worded((*_phrases(wordings), *_MORE[code]), kind)
        tasks.append(Task(code, apart(said, unseen), unseen, variables))
    return tasks


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


_MORE = more()
TASKS = (
    *_read(_LISTS_TASKS, LISTS, "list"),
    *_read(_WORDS_TASKS, WORDS, "list"),
    *_read(_TEXTS_TASKS, TEXTS, "string"),
    *_read(_MAPS_TASKS, MAPS, "dict"),
    *_read(_NOTHING_TASKS, ("",), ""),
)
