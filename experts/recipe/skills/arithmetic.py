"""Whole-number arithmetic, worked step by step."""

from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to, value_after_equals
from experts.recipe.skills import heldout
from experts.recipe.skills.columns import worked_difference, worked_sum
from experts.recipe.wording import Phrasing

BEYOND = (
    "That is beyond my range: I add and subtract up to 999, multiply up to 30 "
    "and divide up to 999 by 9 at most."
)

TABLES_ALONE = 0.5
"""Share of products by one digit or by tens alone: short practice of the tables."""

ASKED = (
    "what is {}?",
    "What is {}?",
    "what's {}",
    "whats {}",
    "{}",
    "{}?",
    "{} =",
    "{} = ?",
    "calculate {}",
    "Calculate {}.",
    "how much is {}?",
    "tell me {}",
    "work out {}",
    "compute {}",
    "please compute {} for me",
    "can you work out {}?",
    "solve {}",
    "give me the answer to {}",
    "i need {}",
    "do you know what {} is?",
    "{} equals what?",
    "my homework says {}",
    "show me the steps for {}",
    "could you calculate {} for me?",
    "what does {} give?",
    "{} gives what?",
    "the result of {} is?",
    "help me with {}",
    "what does {} equal?",
    "what does {} make?",
    "{} makes what?",
    "{} comes to what?",
    "{} is what?",
    "{} is?",
    "{} equals",
    "{} is how much?",
    "how much does {} make?",
    "how much does {} come to?",
    "find {}",
    "find the value of {}",
    "what is the value of {}?",
    "What is the answer to {}?",
    "the answer to {}?",
    "{} answer",
    "answer this: {}",
    "what is the result of {}?",
    "give me the result of {}",
    "calculate this: {}",
    "Solve this for me: {}",
    "Please solve: {}",
    "work this out: {}",
    "can you solve {}?",
    "could you tell me what {} is?",
    "do {} for me",
    "do the math: {}",
    "i have to calculate {}",
    "i have to solve {} for school",
    "how do i work out {}?",
    "how do you solve {}?",
    "i am stuck on {}",
    "I can't do {} in my head.",
    "i want to know what {} is",
    "my teacher asks what {} is",
    "exercise: {}",
    "next one: {}",
    "and {}?",
    "then what is {}?",
    "math: {}",
    "{} = what",
    "{} = __",
    "complete this: {} =",
    "{}, how much is that?",
    "{}, what is it?",
    "explain {} step by step",
    "walk me through {}",
    "what would {} be?",
    "what number is {}?",
    "which number do i get for {}?",
    "if i type {} into a calculator, what comes out?",
    "what does {} come to?",
    "evaluate {}",
    "{} makes how much?",
    "find the result of {}",
    "what do i get for {}?",
    "could you figure out {}",
)


def _phrasing(sign: str, shapes: tuple[str, ...], train: tuple[str, ...]) -> Phrasing:
    """Ask half with the bare expression in one of its shapes, half in words."""
    bare = tuple(asked.format(shape) for asked in ASKED for shape in shapes)
    return Phrasing(train=bare + train * len(shapes), heldout=heldout.ARITHMETIC[sign])


PHRASINGS = {
    "+": _phrasing(
        "+",
        ("{a} + {b}", "{a}+{b}", "{a} plus {b}"),
        (
            "add {a} and {b}",
            "Add {a} to {b}.",
            "what is the sum of {a} and {b}?",
            "sum of {a} and {b}",
            "add up {a} and {b}",
            "{a} and {b} added together",
            "the total of {a} and {b}",
            "what do you get if you add {a} and {b}?",
            "increase {a} by {b}",
            "sum {a} and {b}",
            "sum up {a} and {b}",
            "Find the sum of {a} and {b}.",
            "calculate the sum of {a} and {b}",
            "give me the sum of {a} and {b}",
            "tell me the sum of {a} and {b}",
            "the sum of {a} and {b} is?",
            "how much is the sum of {a} and {b}?",
            "what is the total of {a} and {b}?",
            "total of {a} and {b}",
            "work out the total of {a} and {b}",
            "what total do {a} and {b} make?",
            "how much are {a} and {b}?",
            "how much are {a} and {b} together?",
            "how much do {a} and {b} make?",
            "what do {a} and {b} make?",
            "{a} and {b} make what?",
            "{a} and {b} is how much?",
            "{a} and {b}, what is the sum?",
            "{a} and {b} in total",
            "{a} and {b} together",
            "{a} and {b} combined",
            "what is {a} and {b} combined?",
            "combine {a} and {b}",
            "{a} and {b}, add them",
            "add these: {a}, {b}",
            "add these two numbers: {a} and {b}",
            "please add the numbers {a} and {b}",
            "Can you add {a} and {b}?",
            "could you add {a} to {b} for me?",
            "can you add {a} with {b}",
            "what is {a} added to {b}?",
            "how much is {a} added to {b}?",
            "{a} added to {b}",
            "{a} with {b} added",
            "what is {a} with {b} added to it?",
            "{a}, then add {b}",
            "start with {a} and add {b}",
            "start at {a}, go up {b}",
            "take {a} and add {b} to it",
            "adding {a} and {b} gives what?",
            "adding {b} onto {a} gives what?",
            "what happens if i add {a} and {b}?",
            "what do i get if i add {b} to {a}?",
            "if you add {a} to {b}, how much is it?",
            "if i add {a} and {b}, what do i get?",
            "when you add {a} and {b}, what comes out?",
            "increase the number {a} by {b}",
            "raise {a} by {b}",
            "what is {a} increased by {b}?",
            "{a} increased by {b}",
            "{a} goes up by {b}, what is it now?",
            "if {a} grows by {b}, how much is it?",
            "{a} more than {b}",
            "what is {b} more than {a}?",
            "which number is {b} more than {a}?",
            "what number is {b} greater than {a}?",
            "count {b} on from {a}",
            "i have {a} and get {b} more, how many do i have?",
            "i had {a}, then i got {b} more. how many now?",
            "I have {a} apples and buy {b} more. How many apples do I have?",
            "how much do i have if i have {a} and get {b}?",
            "how many do i have if i get {b} on top of {a}?",
            "one costs {a} and the other {b}, what do both cost?",
            "there are {a} boys and {b} girls, how many children are there?",
            "i paid {a} and then {b}, how much did i pay?",
            "i got {a} points, then {b}, how many is that?",
            "{a} on top of {b}",
            "{a} with another {b}",
            "{a} and another {b}, how many?",
            "{a} and {b} more",
            "{a} and {b} as a sum",
            "total for {a} and {b}?",
            "sum: {a} and {b}",
            "addition: {a} and {b}",
            "addition of {a} and {b}",
            "do the addition of {a} and {b}",
            "what do {a} and {b} add up to?",
            "put {a} and {b} together, what is the total?",
        ),
    ),
    "-": _phrasing(
        "-",
        ("{a} - {b}", "{a}-{b}", "{a} minus {b}"),
        (
            "subtract {b} from {a}",
            "Take {b} away from {a}.",
            "what is the difference of {a} and {b}?",
            "{a} take away {b}",
            "{a} less {b}",
            "what is left when you take {b} from {a}?",
            "take {b} off {a}",
            "if {b} is taken from {a}, what is left?",
            "{a} decreased by {b}",
            "lower {a} by {b}",
            "Subtract {b} from {a}, please.",
            "can you subtract {b} from {a}?",
            "please subtract {b} from {a} for me",
            "how much is {b} subtracted from {a}?",
            "{b} subtracted from {a}",
            "{a} subtract {b}",
            "from {a} subtract {b}",
            "from {a} take {b}",
            "from {a} take away {b}",
            "starting from {a}, subtract {b}",
            "start with {a} and take away {b}",
            "start at {a}, go down {b}",
            "take {b} from {a}",
            "take away {b} from {a}",
            "can you take {b} from {a}?",
            "{b} taken from {a}",
            "{b} from {a}",
            "what is {b} from {a}?",
            "{b} taken away from {a} leaves what?",
            "what does {b} off {a} leave?",
            "{a} with {b} taken off",
            "{a} without {b}",
            "how much is {a} without {b}?",
            "what is {a} less {b}?",
            "how much is {a} take away {b}?",
            "what is {a} decreased by {b}?",
            "decrease {a} by {b}",
            "reduce {a} by {b}",
            "{a} lowered by {b}",
            "what is {a} lowered by {b}?",
            "cut {a} by {b}",
            "if i lower {a} by {b}, what do i get?",
            "drop {a} by {b}",
            "{a} drops by {b}, what is it now?",
            "{a} goes down by {b}, what is it then?",
            "if {a} falls by {b}, how much is it?",
            "{a} shrinks by {b}, how much is it then?",
            "what is {b} less than {a}?",
            "{b} less than {a}",
            "which number is {b} less than {a}?",
            "what number is {b} smaller than {a}?",
            "{b} fewer than {a} is how many?",
            "what do you get if you subtract {b} from {a}?",
            "what do i get if i take {b} from {a}?",
            "if you subtract {b} from {a}, what do you get?",
            "if i take {b} away from {a}, how much is left?",
            "when you take {b} off {a}, what is left?",
            "subtracting {b} from {a} gives what?",
            "taking {b} from {a} leaves what?",
            "how much is left if i take {b} off {a}?",
            "how many are left if {b} of {a} are gone?",
            "what is left of {a} after taking {b}?",
            "what is left of {a} without {b}?",
            "there were {a} and {b} are gone, how many are left?",
            "i have {a} and give away {b}, how many do i have?",
            "i had {a} and lost {b}, how many are left?",
            "how much do i have if i had {a} and spent {b}?",
            "I have {a} apples and eat {b}. How many are left?",
            "i have {a} dollars and spend {b}, what is left?",
            "i spent {b} of my {a}, how much is left?",
            "i used {b} out of {a}, how many do i still have?",
            "{b} of the {a} are sold, how many are still there?",
            "of {a} i gave away {b}, what is left?",
            "give away {b} of {a}, what do you keep?",
            "pay {b} out of {a}, what is the change?",
            "i pay with {a}, it costs {b}, how much change?",
            "the difference of {a} and {b}",
            "find the difference {a} minus {b}",
            "calculate the difference of {a} and {b}",
            "give me the difference of {a} and {b}",
            "tell me the difference when {b} is subtracted from {a}",
            "how much more is {a} than {b}?",
            "how much bigger is {a} than {b}?",
            "by how much is {a} more than {b}?",
            "how much less is {b} than {a}?",
            "how far is it from {b} up to {a}?",
            "how much is missing from {b} to {a}?",
            "what must i add to {b} to get {a}?",
            "how much do i add to {b} to reach {a}?",
            "{b} plus what is {a}?",
            "count back {b} from {a}",
            "count down {b} from {a}",
            "remove {b} from {a}",
            "{a} with {b} removed",
            "if you remove {b} from {a}, how many stay?",
            "subtraction: {a} and {b}",
            "do the subtraction {a} minus {b}",
            "what remains if {b} is subtracted from {a}?",
            "{a} reduced by {b}",
        ),
    ),
    "*": _phrasing(
        "*",
        ("{a} * {b}", "{a}*{b}", "{a} x {b}", "{a} × {b}", "{a} times {b}", "{a}x{b}"),
        (
            "multiply {a} by {b}",
            "Multiply {a} and {b}.",
            "what is the product of {a} and {b}?",
            "product of {a} and {b}",
            "{a} multiplied by {b}",
            "{a} multiplied with {b}",
            "how much do {a} times {b} make?",
            "what happens if i multiply {a} and {b}?",
            "if you multiply {a} by {b}, what is it?",
            "multiply {a} with {b}",
            "multiply {a} times {b}",
            "please multiply {a} by {b} for me",
            "can you multiply {a} by {b}?",
            "Could you multiply {a} and {b}?",
            "multiply these: {a}, {b}",
            "multiply the numbers {a} and {b}",
            "multiply these two numbers: {a} and {b}",
            "{a} and {b} multiplied",
            "{a} and {b} multiplied together",
            "{a} and {b}, multiply them",
            "what is {a} multiplied by {b}?",
            "what is {a} and {b} multiplied?",
            "how much is {a} multiplied by {b}?",
            "how much is {a} multiplied with {b}?",
            "{a} multiply {b}",
            "{a} multiply by {b}",
            "{a} mult {b}",
            "multiplying {a} by {b} gives what?",
            "multiplying {a} and {b} makes what?",
            "if i multiply {a} with {b}, what do i get?",
            "when i multiply {a} and {b}, what comes out?",
            "what do i get if i multiply {a} by {b}?",
            "what comes out if you multiply {a} by {b}?",
            "start with {a} and multiply by {b}",
            "take {a} and multiply it by {b}",
            "the product of {a} and {b}",
            "the product of {a} and {b} is?",
            "give me the product of {a} and {b}",
            "tell me the product of {a} and {b}",
            "calculate the product of {a} and {b}",
            "how much is the product of {a} and {b}?",
            "product: {a} and {b}",
            "{a} and {b} as a product",
            "what product do {a} and {b} make?",
            "what does {a} times {b} amount to?",
            "how much would {a} times {b} be?",
            "what are {a} times {b}?",
            "how much are {a} times {b}?",
            "take {a} times {b}",
            "do {a} times {b}",
            "{a} lots of {b}",
            "what are {a} lots of {b}?",
            "{a} groups of {b}",
            "how many are {a} groups of {b}?",
            "{a} sets of {b}, how many in all?",
            "{a} rows of {b}",
            "how many seats are {a} rows of {b} seats?",
            "{a} rows with {b} chairs each, how many chairs?",
            "{a} boxes of {b}, how many is that?",
            "there are {a} boxes with {b} pens each, how many pens?",
            "I buy {a} bags with {b} apples each. How many apples?",
            "{a} bags, {b} in each, how many in total?",
            "{a} packs of {b} is how many?",
            "{a} teams of {b} people, how many people?",
            "{a} people with {b} each, how many altogether?",
            "{a} people pay {b} each, how much is that?",
            "{a} tickets at {b} each, what do i pay?",
            "{a} items cost {b} each, what is the total?",
            "if one of {a} items costs {b}, what do all cost?",
            "how much do i have if i have {a} bags of {b}?",
            "how much do i pay for {a} at {b} each?",
            "i work {a} hours at {b} an hour, what do i get?",
            "i read {a} pages a day for {b} days, how many pages?",
            "{a} per day for {b} days, how many?",
            "{a} a week for {b} weeks makes what?",
            "{a} repeated {b} times, what is the sum?",
            "{a} taken {b} times",
            "{a} counted {b} times",
            "a table with {a} rows and {b} columns has how many cells?",
            "what is the area of {a} by {b}?",
            "the area of a room {a} long and {b} wide",
            "rectangle with sides {a} and {b}, area?",
            "{a} by {b} tiles, how many tiles?",
            "{a} squares wide and {b} high, how many squares?",
            "multiplication: {a} and {b}",
            "multiplication of {a} and {b}",
            "do the multiplication of {a} and {b}",
            "times table: {a} by {b}",
            "what do you get when you multiply {a} with {b}?",
            "find the product {a} by {b}",
        ),
    ),
    "/": _phrasing(
        "/",
        ("{a} / {b}", "{a}/{b}", "{a} ÷ {b}", "{a} divided by {b}", "{a} : {b}"),
        (
            "divide {a} by {b}",
            "Divide {a} by {b}.",
            "what is the quotient of {a} and {b}?",
            "how many times does {b} go into {a}?",
            "how often does {b} go into {a}?",
            "{a} over {b}",
            "{a} split by {b}",
            "if {a} is shared by {b}, how many does each get?",
            "how many {b}s are in {a}?",
            "divide {a} into {b} parts",
            "divide {a} in {b}",
            "divide the number {a} by {b}",
            "please divide {a} by {b} for me",
            "can you divide {a} by {b}?",
            "could you divide {a} by {b} with remainder?",
            "divide {a} by {b} and give the remainder",
            "divide {a} evenly by {b}",
            "divide {a} among {b}",
            "divide {a} between {b} people",
            "what is {a} divided into {b} parts?",
            "how much is {a} divided by {b}?",
            "{a} divided into {b} equal parts",
            "{a} divided among {b}",
            "{a} div {b}",
            "{a} divide by {b}",
            "{a} divided by {b} with remainder",
            "what is the remainder and quotient of {a} by {b}?",
            "dividing {a} by {b} gives what?",
            "what do you get if you divide {a} by {b}?",
            "what do i get if i divide {a} by {b}?",
            "if you divide {a} by {b}, what do you get?",
            "if i divide {a} by {b}, how much is it?",
            "what happens if i divide {a} by {b}?",
            "what comes out if you divide {a} by {b}?",
            "start with {a} and divide by {b}",
            "take {a} and divide it by {b}",
            "the quotient of {a} and {b}",
            "quotient of {a} and {b}",
            "find the quotient of {a} by {b}",
            "give me the quotient of {a} and {b}",
            "calculate the quotient of {a} and {b}",
            "how much is the quotient of {a} and {b}?",
            "split {a} by {b}",
            "split {a} into {b}",
            "Split {a} into {b} equal parts.",
            "split {a} in {b} equal groups, how big is each?",
            "split {a} between {b} people",
            "split {a} evenly among {b}",
            "if i split {a} into {b} parts, how much is one part?",
            "{a} split into {b} parts",
            "{a} split {b} ways",
            "what is {a} split {b} ways?",
            "share {a} among {b}",
            "share {a} between {b}",
            "share {a} equally among {b} people",
            "Share {a} sweets among {b} children.",
            "{a} shared among {b}",
            "{a} shared by {b} people, how much for each?",
            "{a} shared equally between {b} is what?",
            "if {b} people share {a}, what does each get?",
            "{b} friends share {a}, how many for each?",
            "{b} children get {a} sweets, how many does each get?",
            "we are {b} and have {a}, how many each?",
            "{a} for {b} people, how much each?",
            "{a} dollars for {b} people, what does each pay?",
            "{b} people pay {a} together, how much does each pay?",
            "{b} of them cost {a}, how much is one?",
            "how much does each get if {a} is split by {b}?",
            "how much do i have if i get one part of {a} split in {b}?",
            "hand out {a} to {b} people equally",
            "give {a} to {b} people in equal parts",
            "cut {a} into {b} equal pieces",
            "if i cut {a} into {b} pieces, how long is each?",
            "make {b} equal groups out of {a}",
            "make groups of {b} out of {a}, how many groups?",
            "how many groups of {b} are in {a}?",
            "how many groups of {b} can i make from {a}?",
            "how many sets of {b} are there in {a}?",
            "{a} in groups of {b}, how many groups?",
            "{a} in packs of {b}, how many packs?",
            "{a} eggs in boxes of {b}, how many boxes are full?",
            "how many boxes of {b} do {a} apples fill?",
            "put {a} things into {b} boxes, how many in each?",
            "{a} pages in {b} days, how many each day?",
            "{a} in {b} weeks, how much per week?",
            "{a} items in {b} rows, how many in a row?",
            "how many times is {b} in {a}?",
            "how often is {b} contained in {a}?",
            "how many times can i take {b} from {a}?",
            "how often can you subtract {b} from {a}?",
            "how many times {b} makes {a}?",
            "{b} goes into {a} how many times?",
            "{b} into {a}",
            "{b} into {a} goes how often?",
            "{b} fits into {a} how often?",
            "does {b} go into {a}, and what is left?",
            "{b} times what is {a}?",
            "division: {a} by {b}",
            "division of {a} by {b}",
            "do the division {a} by {b}",
            "long division: {a} by {b}",
            "do long division of {a} by {b}",
            "{a} per {b}",
            "what is {a} over {b}?",
            "when {a} is divided by {b}, what is the result?",
            "how many times does {b} fit in {a}?",
        ),
    ),
}


def draw(rng: Random, split: Split) -> Example:
    """Draw a sum, difference, product or division with its worked answer."""
    sign = rng.choice("+--**//")
    beyond = split == "train" and rng.random() < 0.04
    while True:
        left, right = _operands(rng, sign, beyond=beyond)
        if split == "train" and sign == "*" and not beyond and rng.random() < TABLES_ALONE:
            right = rng.choice((*range(1, 10), 10, 20, 30))
        if belongs_to(split, f"{left}{sign}{right}"):
            break
    prompt = PHRASINGS[sign].say(rng, split, a=left, b=right)
    return Example(prompt=prompt, answer=BEYOND if beyond else worked(left, sign, right))


def worked(left: int, sign: str, right: int) -> str:
    """Work an expression out, ending in the expression with its value.

    Example:
        >>> print(worked(17, "*", 24))
        17*20=340, 17*4=68
        340 + 68: 0+8=8, 4+6=10, 3+0+1=4
        17 * 24 = 408
    """
    steps = {"+": _sum, "-": _difference, "*": _product, "/": _quotient}[sign]
    return steps(left, right)


def _operands(rng: Random, sign: str, *, beyond: bool) -> tuple[int, int]:
    if beyond:
        large, small = rng.randrange(1000, 10 ** rng.randrange(4, 9)), rng.randrange(2, 5000)
        if sign == "*" and rng.random() < 0.5:
            large = rng.randrange(100, 1000)
        if sign == "/":
            return large, small
        return (large, small) if rng.random() < 0.5 else (small, large)
    if sign == "*":
        return _up_to(rng, 30), _up_to(rng, 30)
    if sign == "/":
        return _up_to(rng, 999), rng.randrange(2, 10)
    return _up_to(rng, 999), _up_to(rng, 999)


def _up_to(rng: Random, limit: int) -> int:
    shape = rng.random()
    if shape < 0.1:
        return rng.randrange(0, 10)
    if shape < 0.4:
        return rng.randrange(10, min(limit + 1, 100))
    return rng.randrange(limit // 10, limit + 1)


def _sum(left: int, right: int) -> str:
    last = f"{left} + {right} = {left + right}"
    if left < 10 and right < 10:
        return f"{left}+{right}={left + right}\n{last}"
    return f"{left} + {right}: {worked_sum(str(left), str(right))}\n{last}"


def _difference(left: int, right: int) -> str:
    last = f"{left} - {right} = {left - right}"
    lines = [f"{left} - {right}: {worked_difference(str(left), str(right))}"]
    if left < right:  # the last column has borrowed from nothing: subtract the other way round
        lines.append(f"{right} - {left}: {worked_difference(str(right), str(left))}")
    return "\n".join([*lines, last])


def _product(left: int, right: int) -> str:
    last = f"{left} * {right} = {left * right}"
    tens, ones = right - right % 10, right % 10
    if not tens or not ones:
        return f"{left}*{right}={left * right}\n{last}"
    high, low = left * tens, left * ones
    return (
        f"{left}*{tens}={high}, {left}*{ones}={low}\n"
        f"{high} + {low}: {worked_sum(str(high), str(low))}\n{last}"
    )


def _quotient(left: int, right: int) -> str:
    steps, rest = [], 0
    for digit in str(left):
        have = rest * 10 + int(digit)
        rest = have % right
        steps.append(f"{have}/{right}={have // right} r {rest}")
    remainder = f" remainder {left % right}" if left % right else ""
    return f"{left} / {right}: {', '.join(steps)}\n{left} / {right} = {left // right}{remainder}"


SKILL = Skill(
    name="arithmetic",
    summary="whole-number arithmetic, worked step by step",
    draw=draw,
    normalise=value_after_equals,
    normalisation="the value after the last equals sign",
    covers="a + b and a - b with whole numbers up to 999, a * b up to 30 by 30, "
    "a / b up to 999 by 9 with its remainder",
    beyond="larger numbers, decimals, brackets, more than one operation, word problems",
)
