"""The learned half: estimators from text to category scores. Knows no HTTP.

How a router decides. A category is defined by texts: utterances (what belongs), negatives (near
misses that do not), keywords and patterns. These routers read them:

`keyword`     rules. A hit is certain: probability 1, shared among the categories that are hit.
              With `score: bm25`, the words that a text shares with a category's (see `bm25`).
`embedding`   meaning. The text and every utterance become unit vectors (see `encoders`; seen
              texts come from `cache`). A category's score is the mean cosine of its `top_k` nearest
              utterances, less what its near misses cost (see `index`). `calibration` turns the
              scores of a row into probabilities that sum to less than one; the rest is "none of
              these". It is fitted when the router is built, on the utterances themselves, each
              scored as if it were not there (see `holdout`).
`nearest`     the same, by votes: of all utterances the k nearest, k chosen by leaving out.
`ridge`       weights that tell the categories apart, by least squares. On the encoder `hashed` it
              costs microseconds: the first stage of a chain.
`lexical`     words and pairs of words, taught by a slower router: a better first stage, where there
              are thousands of rows.
`linear`      weights learnt once, by `training`, and loaded from a file (see `artefact`); `gate`
              says whether a text belongs to any category, `calibrators` how sure the choice is, and
              `spelling` mends what was mistyped before the encoder reads it.
`pilot`       each expert is the mean of the queries that it is best at; the nearest decides.
`skill`       the skills that the text needs against those of the experts; the weakest counts.
`chain`       cheap stages first: the next stage reads only the texts of which this one is not sure.
`merge`       every stage reads every text; a weighted mean of what they say.

A router never chooses and never abstains: it returns the whole distribution with its evidence
(nearest utterances, near misses that counted, keywords hit), and the gateway applies thresholds.

All routers and encoders are found by entry point (`coe.routers`, `coe.encoders`), as a third
party's are (`plain` is what such a router may derive from), and pass the checks of `coe.testing`:
`check_router` and `check_encoder`. The package
stands on numpy, onnxruntime and tokenizers; it imports nothing of the gateway but its values,
protocols and errors.
"""
