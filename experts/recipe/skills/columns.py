"""Written arithmetic: sums and differences column by column, as on squared paper."""


def worked_sum(left: str, right: str) -> str:
    """Add two equally precise decimals in columns, the last column first.

    Example:
        >>> worked_sum("340", "68")
        '0+8=8, 4+6=10, 3+0+1=4'
    """
    top, bottom = _columns(left, right)
    steps, carry = [], 0
    for upper, lower in zip(reversed(top), reversed(bottom), strict=True):
        total = int(upper) + int(lower) + carry
        steps.append(f"{upper}+{lower}{'+1' if carry else ''}={total}")
        carry = total // 10
    return ", ".join(steps)


def worked_difference(left: str, right: str) -> str:
    """Subtract in columns, the last column first, saying where a column borrows from the next.

    The last column borrows when `right` is the larger number.

    Example:
        >>> worked_difference("502", "37")
        '2-7=5 borrow, 0-3-1=6 borrow, 5-0-1=4'
    """
    top, bottom = _columns(left, right)
    steps, borrow = [], 0
    for upper, lower in zip(reversed(top), reversed(bottom), strict=True):
        less = int(upper) - int(lower) - borrow
        step = f"{upper}-{lower}{'-1' if borrow else ''}={less % 10}"
        borrow = int(less < 0)
        steps.append(f"{step} borrow" if borrow else step)
    return ", ".join(steps)


def _columns(left: str, right: str) -> tuple[str, str]:
    top, bottom = left.replace(".", ""), right.replace(".", "")
    width = max(len(top), len(bottom))
    return top.zfill(width), bottom.zfill(width)
