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
    """Subtract a number from one that is not smaller, in columns, the last column first.

    Example:
        >>> worked_difference("502", "37")
        '12-7=5, 9-3=6, 4-0=4'
    """
    top, bottom = _columns(left, right)
    steps, borrow = [], 0
    for upper, lower in zip(reversed(top), reversed(bottom), strict=True):
        have = int(upper) - borrow
        borrow = int(have < int(lower))
        have += 10 * borrow
        steps.append(f"{have}-{lower}={have - int(lower)}")
    return ", ".join(steps)


def _columns(left: str, right: str) -> tuple[str, str]:
    top, bottom = left.replace(".", ""), right.replace(".", "")
    width = max(len(top), len(bottom))
    return top.zfill(width), bottom.zfill(width)
