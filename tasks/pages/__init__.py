"""Views: from values to everything that a page shows. Templates decide nothing.

What stands in a view is final, but for escaping: text from events stays as it came, only shortened,
and `tasks.pages.html` escapes it and makes its hidden characters visible.
"""
