"""Resolvers in AppSync's JavaScript, APPSYNC_JS: files of the API's owner, run where they can do no harm.

    runtime         all of it for one API: what serves, and what served before a reload
    definitions     what resolves a field: modules, functions, pipelines
    directory       a folder of ES modules -> definitions, checked against the schema
    scanner         JavaScript text -> tokens, as far as finding statements takes it
    rewriter        an ES module -> the body of a function that makes its handlers
    checker         the top level of each module is run once when it is loaded, in a process of its own
    library/        `@aws-appsync/utils`, in JavaScript
    sandbox         one module in a QuickJS context of its own: a call in, an envelope out, limits on both
    answers         what the library has to ask the host about: time zones, filters
    worker          the process that the sandboxes live in: lines in, lines out
    child           one such process, seen from the event loop, and those that take its place
    pool            all of them: who waits, whose turn it is, who is kept apart
    context         a request -> `ctx`
    resolver        the stages of a resolver: request, data source, response; pipelines
    data_sources    the protocol of what a request goes to
    http_source     HTTP: what a resolver asks for -> a request to an allowed host -> what was answered
    http_clients    connections to HTTP data sources
    request_signer  AWS Signature Version 4
    log             what they write, and how they fail

Knows the schema's names; no socket of a client and no Redis. Imports nothing here: the processes that run resolvers
load no more than they need.
"""
