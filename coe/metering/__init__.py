"""Limits and budgets: what is set aside before anything is asked, and put right when it has ended.

A request is counted once, before it is routed. Tokens and money are counted for every call that
passes the door, whoever makes it: an answer's, a fallback's, a panel's, a judge's, a shadow's, a
batch's, a router's. What a call may take at most is set aside before it is made, so that calls that
come together cannot take an account over its limit; when the call has ended, what it took is
counted instead. Where that is not known, and something may have been generated, all that was set
aside counts. A program costs what is asked under it.
"""
