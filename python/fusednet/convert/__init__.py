"""Networks from and to other libraries' models.

`imports` and `exports` have what is public. Behind them is one module a format, imported when it is used.
None knows of another: each reads into, or writes from, the chain of dense layers that `chain` describes.
`probes` recognises activations for those formats in which they may be spelt out.
"""
