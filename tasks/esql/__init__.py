"""The embedded Elasticsearch: a folder of events that answers ES|QL through the official client.

It re-exports nothing: who only needs `errors` or `types` does not load DuckDB and the parser.
"""
