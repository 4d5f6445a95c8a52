"""A page that steps through GPT-2 in a browser.

README.md says how its parts fit together:

    session.py   answers the page's questions about a model: Session
    fields.py    the fields of a question, checked
    changes.py   changes of a run: an edit for the model, and the Python that does the same
    runs.py      a forward pass with everything that the page shows of it; the runs that are kept
    analyses.py  what is computed beside the run: logit lens, beam search, attribution
    models.py    the models that a page can choose
    wire.py      an answer as bytes
    server.py    the page and its questions over HTTP, on this machine only
    guard.py     who may ask the server
    modules.py   the page in one piece of HTML, without an address
    file.py      a page that is one file
    widget.py    the page in a notebook
    web/         what runs in the browser
"""
