"""More wordings of the one-liners: other verbs, other nouns, whole sentences."""

import re
from collections.abc import Iterator
from itertools import cycle

_ENTRIES = ("items", "entries", "elements", "members", "values", "things")
_ENTRY = ("item", "entry", "element", "member", "value", "thing")
_VERBS = frozenset(
    "add sort order arrange find get take keep remove drop delete strip throw leave pick collect "
    "gather build produce obtain figure count reverse flip turn make multiply square sum scale "
    "increase raise filter select list join combine put convert change uppercase lowercase split "
    "break cut divide separate trim check test swap switch exchange invert slice calculate compute "
    "work average total dedupe deduplicate clean discard eliminate grab extract glue write tally "
    "measure determine see chop rank retain return fetch double-check lower upper rid".split()
)
_COMMANDS = (
    "how do i {p}",
    "how can i {p}",
    "how would i {p}",
    "How do you {p}?",
    "i want to {p}",
    "I need to {p}.",
    "i have to {p}",
    "what is the way to {p}",
    "is there a way to {p}",
    "can you {p}",
    "code that will {p}",
    "an expression to {p}",
    "I have a {k} called {v}. How do I {it}?",
    "i have a {k} {v}, how do i {it}",
    "I have a {k} {v} and want to {it}.",
    "i have a {k} named {v} and need to {it}",
    "Given {v}, {it}.",
    "given the {k} {v}, {it}",
    "given a {k} {v}, how can i {it}",
    "{v} is a {k}. How do I {it}?",
    "{v} is my {k}, {it}",
    "for the {k} {v}: {it}",
    "suppose {v} is a {k}. {it}",
    "there is a {k} called {v}, how would you {it}",
    "my {k} is called {v}, i have to {it}",
    "take the {k} {v} and {it}",
)
_NOUNS = (
    "i need {p}",
    "I want {p}.",
    "i would like {p}",
    "give me {p}",
    "return {p}",
    "produce {p}",
    "obtain {p}",
    "build {p}",
    "figure out {p}",
    "collect {p}",
    "work out {p}",
    "how do i get {p}",
    "How can I obtain {p}?",
    "how do i figure out {p}",
    "what gives {p}",
    "code that returns {p}",
    "an expression giving {p}",
    "I have a {k} called {v}. I want {it}.",
    "i have a {k} {v}, give me {it}",
    "Given {v}, produce {it}.",
    "given the {k} {v}, i need {it}",
    "given {v}, find {it}",
    "{v} is a {k}, how do i get {it}",
    "for the {k} {v}: {it}",
    "take the {k} {v} and return {it}",
)
_ASKING = ("what", "which", "how", "is", "does", "whether", "do", "true", "only", "tell")


def worded(phrases: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Widen wordings of a task on a variable `{v}` of a kind (`list`, `string`, empty for none).

    Returns:
        The wordings with other nouns, then whole sentences of them; half of it is plain, so that
        the sentences do not crowd it out.
    """
    plain = tuple(dict.fromkeys(other for phrase in phrases for other in _renamed(phrase, kind)))
    if not kind:
        return plain
    sentences = tuple(_sentences(plain, kind))
    repeats = max(1, len(sentences) // len(plain))
    return plain * repeats + sentences


def _renamed(phrase: str, kind: str) -> Iterator[str]:
    yield phrase
    yield phrase  # as often as all its renamings at least in part
    if kind == "list":
        if re.search(r"\b(items|elements)\b", phrase):
            yield from (re.sub(r"\b(items|elements)\b", noun, phrase) for noun in _ENTRIES)
        elif re.search(r"\b(item|element)\b", phrase):
            yield from (re.sub(r"\b(item|element)\b", noun, phrase) for noun in _ENTRY)


def _sentences(phrases: tuple[str, ...], kind: str) -> Iterator[str]:
    commands, nouns = cycle(_COMMANDS), cycle(_NOUNS)
    for phrase in phrases:
        first = phrase.split(" ", 1)[0]
        if first in _ASKING or phrase.count("{v}") != 1:
            continue
        forms = commands if first in _VERBS else nouns
        it = re.sub(rf"(the )?({kind} )?\{{v\}}", "it", phrase)
        for _ in range(4):
            form = next(forms)
            if first == "{v}" and "{it}" in form:  # `it reversed` is no way to put it
                continue
            yield form.replace("{p}", phrase).replace("{it}", it).replace("{k}", kind)


_MORE = """
sum({v})
  add everything up in {v}; add up the items of {v}; the grand total of {v}; all items of {v} added
  up; figure out the total of {v}; compute the sum of {v}; what does {v} sum to; what do all the
  items of {v} come to; the items of {v} summed; one total from {v}; how much is {v} in total
sum({v}) / len({v})
  the arithmetic mean of {v}; figure out the average of {v}; the average item of {v}; what do the
  items of {v} average; determine the mean of {v}; what is the mean of {v}; mean of the items in
  {v}; the average over all items of {v}; obtain the average of {v}; the average of everything in
  {v}
max({v})
  pick out the largest item of {v}; pick the maximum of {v}; which item of {v} is largest; what is
  the maximum in {v}; the top value in {v}; the biggest item in {v}; determine the largest item of
  {v}; the highest item of {v}; the greatest item in {v}; find what is largest in {v}; obtain the
  maximum of {v}
min({v})
  pick out the smallest item of {v}; pick the minimum of {v}; which item of {v} is smallest; what
  is the minimum in {v}; the bottom value in {v}; the smallest item in {v}; determine the smallest
  item of {v}; the lowest item of {v}; the least item in {v}; find what is smallest in {v}; obtain
  the minimum of {v}
[x * x for x in {v}]
  build a list of the squares of {v}; produce the square of every item of {v}; all items of {v}
  squared; collect the squares of {v}; gather the squares of all items of {v}; the second power of
  each item of {v}; a list where each item of {v} is squared; multiply every item of {v} with
  itself; every item of {v} times itself
sum(x * x for x in {v})
  the squares of {v} summed; the squared items of {v} added up; figure out the sum of squares of
  {v}; obtain the sum of the squares of {v}; square every item of {v} and then add them together;
  square all of {v} and total it; what do the squares of {v} add up to; total of the squared items
  in {v}; add together the squares of {v}
[x * {n} for x in {v}]
  build a list with every item of {v} times {n}; produce {v} times {n} for each item; all items of
  {v} times {n}; collect every item of {v} multiplied by {n}; every item of {v} scaled by {n}; make
  each item of {v} {n} times as large; the product of each item of {v} and {n}; multiply the
  contents of {v} by {n}; scale all items of {v} by a factor of {n}
[x + {n} for x in {v}]
  build a list with every item of {v} plus {n}; produce {v} with {n} more for each item; all items
  of {v} plus {n}; collect every item of {v} increased by {n}; every item of {v} raised by {n};
  make each item of {v} larger by {n}; the sum of each item of {v} and {n}; bump every item of {v}
  by {n}; shift all items of {v} up by {n}
[x for x in {v} if x > {n}]
  keep only items of {v} larger than {n}; pick the items of {v} above {n}; collect everything in
  {v} above {n}; gather the items of {v} that exceed {n}; leave out items of {v} that are not above
  {n}; throw out everything in {v} up to {n}; the part of {v} above {n}; pick out what is bigger
  than {n} in {v}; find items in {v} bigger than {n}; only items over {n} from {v}; get rid of
  items of {v} that are {n} or less
[x for x in {v} if x < {n}]
  keep only items of {v} smaller than {n}; pick the items of {v} below {n}; collect everything in
  {v} below {n}; gather the items of {v} that stay under {n}; leave out items of {v} that are not
  below {n}; throw out everything in {v} from {n} up; the part of {v} below {n}; pick out what is
  smaller than {n} in {v}; find items in {v} lower than {n}; only items under {n} from {v}; get rid
  of items of {v} that are {n} or more
[x for x in {v} if x % 2 == 0]
  pick the even items of {v}; pick out even numbers from {v}; collect the even items of {v}; gather
  all even numbers in {v}; leave out the odd numbers of {v}; throw out the odd items of {v}; drop
  the odd numbers from {v}; remove odd numbers from {v}; get rid of the odd items in {v}; {v}
  without the odd numbers; items of {v} that divide by two; items of {v} divisible by 2
[x for x in {v} if x % 2 == 1]
  pick the odd items of {v}; pick out odd numbers from {v}; collect the odd items of {v}; gather
  all odd numbers in {v}; leave out the even numbers of {v}; throw out the even items of {v}; drop
  the even numbers from {v}; remove even numbers from {v}; get rid of the even items in {v}; {v}
  without the even numbers; items of {v} that do not divide by two; items of {v} not divisible by 2
sum(x > {n} for x in {v})
  figure out how many items of {v} are above {n}; how many items of {v} exceed {n}; the number of
  items of {v} over {n}; count what is above {n} in {v}; count how many items of {v} exceed {n};
  how many in {v} are larger than {n}; how often is an item of {v} above {n}; work out how many
  items of {v} are bigger than {n}; determine how many of {v} are over {n}; the amount of items in
  {v} above {n}
sorted({v})
  arrange the items of {v} from small to large; order {v} from smallest to largest; sort {v} from
  small to large; {v} from smallest to largest; put the items of {v} in order; produce {v} in
  sorted order; {v} sorted; {v} sorted ascending; build a sorted list from {v}; get {v} sorted; the
  items of {v} in ascending order; sort {v} with the smallest first; rank {v} from low to high
sorted({v}, reverse=True)
  arrange the items of {v} from large to small; order {v} from biggest to smallest; sort {v} from
  large to small; {v} from biggest to smallest; put the items of {v} in descending order; produce
  {v} in descending order; {v} sorted from large to small; sort {v} with the biggest first; the
  items of {v} in descending order; {v} with the highest first; rank {v} from high to low; get {v}
  sorted from high to low
{v}[::-1]
  put {v} in the opposite order; the opposite order of {v}; {v} in the opposite order; the items of
  {v} in reverse; the reverse of {v}; a reversed copy of {v}; produce {v} in reverse; {v} back to
  front; turn {v} back to front; read {v} from back to front; {v} the other way round; turn {v} the
  other way round; get the items of {v} starting from the last; run through {v} backwards; reverse
  all items of {v}
list(dict.fromkeys({v}))
  drop the repeats from {v}; throw out duplicates from {v}; throw out the repeated items of {v};
  leave out duplicates in {v}; leave out the repeats in {v}; strip duplicates from {v}; strip the
  repeated items out of {v}; keep only distinct items of {v}; keep only the first of each item in
  {v}; the distinct items of {v}; distinct values in {v}; collect the distinct items of {v}; gather
  the unique items of {v}; pick the unique items from {v}; build a list of the distinct items of
  {v}; produce {v} without repeats; {v} with no repeats; {v} without repeated items; get rid of
  repeats in {v}; get rid of repeated items in {v}; remove duplicates from {v} and keep the order;
  remove duplicates of {v} but keep order; the unique items of {v} in order; unique items of {v} in
  their order; dedupe {v} without changing the order; duplicates out of {v}; every different item
  of {v} once; all different items of {v}; make the items of {v} unique; eliminate duplicates in
  {v}; remove everything that comes twice in {v}
{v}[:{n}]
  pick the first {n} items of {v}; collect the first {n} of {v}; the top {n} items of {v}; grab the
  first {n} items of {v}; {n} items from the front of {v}; the front {n} items of {v}; the opening
  {n} items of {v}; drop all but the first {n} of {v}; leave out everything after the first {n}
  items of {v}; cut {v} down to the first {n} items; {v} cut after {n} items; the start of {v}, {n}
  items; obtain the first {n} items of {v}
{v}[-{n}:]
  pick the last {n} items of {v}; collect the last {n} of {v}; the bottom {n} items of {v}; grab
  the last {n} items of {v}; {n} items from the back of {v}; the back {n} items of {v}; the closing
  {n} items of {v}; drop all but the last {n} of {v}; leave out everything before the last {n}
  items of {v}; cut {v} down to the last {n} items; the end of {v}, {n} items; obtain the last {n}
  items of {v}
len({v})
  figure out how many items {v} has; count everything in {v}; count what is in {v}; count {v}; the
  total number of items in {v}; determine the length of {v}; what is the size of {v}; how big is
  {v}; how many items {v} contains; obtain the number of items in {v}; how many does {v} hold; work
  out the length of {v}; amount of items in {v}
[x.upper() for x in {v}]
  change every item of {v} to capitals; write all of {v} in capitals; every item of {v} in capital
  letters; {v} all in upper case; produce {v} in upper case; build a list with {v} in upper case;
  make the letters of {v} big; {v} in big letters; all words of {v} capital; turn the items of {v}
  to capitals; convert all items of {v} to uppercase
[len(x) for x in {v}]
  build a list of the lengths of {v}; produce the length of every item of {v}; collect the lengths
  of the items of {v}; gather the lengths of {v}; figure out how long each item of {v} is; how many
  characters each item of {v} has; the number of characters of each item in {v}; measure every item
  of {v}; the size of each word in {v}
[x for x in {v} if len(x) > {n}]
  pick the words of {v} longer than {n}; collect the items of {v} with over {n} characters; gather
  items of {v} longer than {n}; leave out words of {v} with at most {n} letters; throw out words of
  {v} with {n} letters or fewer; drop the short words of {v}, up to {n} letters; keep items of {v}
  whose length is above {n}; items of {v} whose length exceeds {n}; keep only long words of {v},
  over {n} letters; items of {v} with more than {n} characters
', '.join({v})
  glue {v} together with commas; build a comma separated string from {v}; produce one string from
  {v} with commas; put {v} together with commas; make one line of {v} with commas; the items of {v}
  with commas between; combine the items of {v} with a comma; merge {v} with commas; string the
  items of {v} together with commas; one comma separated text of {v}
sorted({v}, key=len)
  arrange the items of {v} from short to long; order the items of {v} by their length; put the
  shortest of {v} first; rank {v} by length; {v} sorted by how long each is; produce {v} sorted by
  length; {v} with the shortest first; {v} with the longest last; sort the items of {v} by size of
  word; put the items of {v} in order of length
max({v}, key=len)
  pick out the longest item of {v}; determine the longest word in {v}; obtain the longest of {v};
  which item in {v} has the most letters; which word of {v} has most characters; figure out the
  longest word of {v}; the item of {v} with the greatest length; find the item of {v} with the
  largest length; the word of maximum length in {v}
{v}.split()
  chop {v} into words; collect the words of {v} in a list; gather the words of {v}; build a list of
  words from {v}; produce the list of words in {v}; obtain the words of {v}; extract the words from
  {v}; pick the words out of {v}; take {v} apart into words; the words of {v} as a list; divide {v}
  at the spaces
len({v}.split())
  figure out how many words {v} has; determine the word count of {v}; obtain the number of words in
  {v}; how many words {v} contains; work out how many words are in {v}; the amount of words in {v};
  total number of words in {v}; count up the words in {v}; find the number of words of {v}
{v}.lower()
  get rid of capitals in {v}; remove the capital letters from {v} by lowering them; make all letters
  of {v} small; turn {v} into small letters; produce {v} in lower case; obtain {v} in lowercase;
  write {v} without capitals; {v} all in lower case; {v} without capital letters; change all
  letters of {v} to lowercase; make {v} all small letters
{v} == {v}[::-1]
  figure out if {v} is a palindrome; determine whether {v} is a palindrome; find out whether {v} is
  a palindrome; does {v} read the same in both directions; is {v} equal to its reverse; check if
  {v} is the same reversed; test if {v} reads the same from both ends; is {v} the same read from
  the back; check whether {v} reads the same backwards
sum(c in 'aeiou' for c in {v})
  figure out how many vowels {v} has; determine the number of vowels in {v}; obtain the vowel count
  of {v}; work out how many vowels are in {v}; how many vowels {v} contains; total number of vowels
  in {v}; count the letters of {v} that are vowels; count how many vowels {v} has; the amount of
  vowels in {v}; how often does a vowel come in {v}
{v}.strip()
  get rid of spaces around {v}; get rid of the whitespace at both ends of {v}; drop the spaces
  around {v}; throw out the spaces at the ends of {v}; leave out the spaces before and after {v};
  remove spaces from the start and end of {v}; strip leading and trailing whitespace from {v}; cut
  off the spaces around {v}; take the spaces off the ends of {v}; {v} without leading and trailing
  spaces; clean {v} of outer spaces
{{b: a for a, b in {v}.items()}}
  build a dict from values to keys of {v}; produce the inverse of {v}; obtain {v} with keys and
  values exchanged; turn {v} inside out, values as keys; reverse the mapping {v}; reverse the dict
  {v}; flip the dict {v}; flip {v} so values become keys; the reversed dict of {v}; {v} with values
  as keys and keys as values; map the values of {v} to their keys; let keys and values of {v}
  change places; the inverted dict {v}; make keys out of the values of {v}; swap {v} around, keys
  for values; map each value of {v} back to its key
max({v}, key={v}.get)
  pick the key with the highest value from {v}; figure out which key of {v} has the highest value;
  determine the key of {v} with the largest value; obtain the key with the biggest value in {v};
  what key of {v} has the largest value; which key holds the highest value in {v}; the key whose
  value is largest in {v}; the key in {v} whose value is the highest; which key of {v} is worth
  most; find the key in {v} that has the maximum value
list(range(1, {n} + 1))
  build a list from 1 to {n}; produce the numbers 1 to {n}; collect the numbers from 1 up to {n};
  gather the numbers 1 to {n} in a list; obtain a list of 1 through {n}; the whole numbers from one
  to {n}; a list of the first {n} numbers from 1; all integers between 1 and {n}; how do i list
  the numbers 1 to {n}; a list counting from 1 to {n}; write the numbers from 1 to {n} in a list
"""


def more() -> dict[str, tuple[str, ...]]:
    """Read more plain wordings of each task, by the task's code."""
    read: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"\n(?=\S)", _MORE.strip()):
        code, wordings = block.split("\n", 1)
        read[code] = tuple(" ".join(phrase.split()) for phrase in wordings.split(";"))
    return read
