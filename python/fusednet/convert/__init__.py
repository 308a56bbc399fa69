"""Networks from and to other libraries' models.

One module a format, imported when it is used. None knows of another: each reads into, or writes from, the
chain of dense layers that `fusednet.convert.chain` describes.
"""
