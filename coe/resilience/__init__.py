"""What keeps one bad expert from being everybody's trouble: decided purely, with a clock given in.

kinds    what kind of failure an error is, and whether another expert is asked after it
course   whom to ask next, and when to stop
budget   how many calls more than requests there may be
breaker  whether an expert that failed is asked again
crowd    who waits for a busy backend, and who is refused at once
"""
