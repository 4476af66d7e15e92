"""Who may be sent what: data classes, detectors, rules, and what clients and keys keep out.

    wishes      what a request's headers say
    texts       all text of a request
    detectors   what is found in it, by libraries
    rules       all of that -> the experts that it may not reach
    permits     what a permit forbids, for whoever holds one
    guard       the parts together, for one composition

Decided before anything is ranked; `coe.pipeline` asks, and everybody else reads `Query.permit`.
"""
