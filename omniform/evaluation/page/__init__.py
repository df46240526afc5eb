"""How the report page is drawn: markup, pictures, charts, sections. No dependency but numpy."""
