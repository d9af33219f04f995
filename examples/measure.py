#!/usr/bin/env python3
"""Counts and adds up the public data on its own, and compares.

    measure.py DIR LOADED.tsv            prints a table; ends with 1 where figures differ
    measure.py --write TABLE.md FILE.md  puts a table between the marks in a file

Python's standard library only, and nothing of the program that is measured: CSV by
`csv`, the workbook by `zipfile` and its XML.
"""

import csv
import re
import sys
import xml.etree.ElementTree as xml
import zipfile
from decimal import Decimal
from pathlib import Path

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
PACKAGE = "{http://schemas.openxmlformats.org/package/2006/relationships}"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

# Name, what people call it, where the data's README says it (a line's start, a pattern).
FIGURES = [
    ("orders.rows", "`orders.csv`: rows", "| `orders.csv`", r"([\d,]+) rows"),
    ("orders.days", "`orders.csv`: days", "| `orders.csv`", r"([\d,]+) days"),
    ("details.rows", "`order_details.csv`: rows", "| `order_details.csv`", r"([\d,]+) rows"),
    ("details.quantity", "`order_details.csv`: Σ quantity", "| `order_details.csv`", r"Σ quantity ([\d,]+)"),
    ("details.sales", "with `pizzas.csv`: Σ quantity × price", "| `order_details.csv`", r"= ([\d,]+\.\d+)"),
    ("pizzas.rows", "`pizzas.csv`: rows", "| `pizzas.csv`", r"([\d,]+) rows"),
    ("types.rows", "`pizza_types.csv`: rows", "| `pizza_types.csv`", r"([\d,]+) rows"),
    ("facts.rows", "`FactTable`: rows", "| `coffee_chain.xlsx`", r"`FactTable` ([\d,]+) rows"),
    ("facts.columns", "`FactTable`: named columns", "| `coffee_chain.xlsx`", r"([\d,]+) named columns"),
    ("facts.sales", "`FactTable`: Σ `Sales`", None, None),
    ("facts.budget", "`FactTable`: Σ `Budget Sales`", None, None),
    ("product.rows", "`Product`: rows", "| `coffee_chain.xlsx`", r"`Product` ([\d,]+)"),
    ("location.rows", "`Location`: rows", "| `coffee_chain.xlsx`", r"`Location` ([\d,]+)"),
    ("quarantined", "rows quarantined, all seven files and sheets", None, None),
]


def lines(path, encoding="utf-8"):
    with open(path, encoding=encoding, newline="") as file:
        return list(csv.DictReader(file))


def sheet(workbook, name):
    """The rows of a sheet, each as a list of texts; empty cells are None."""
    texts = ["".join(t.text or "" for t in item.iter(MAIN + "t"))
             for item in xml.fromstring(workbook.read("xl/sharedStrings.xml"))]
    sheets = xml.fromstring(workbook.read("xl/workbook.xml")).iter(MAIN + "sheet")
    link = next(s.get(LINK) for s in sheets if s.get("name") == name)
    links = xml.fromstring(workbook.read("xl/_rels/workbook.xml.rels")).iter(PACKAGE + "Relationship")
    target = next(r.get("Target") for r in links if r.get("Id") == link)
    rows = []
    for row in xml.fromstring(workbook.read("xl/" + target)).iter(MAIN + "row"):
        cells = {}
        for cell in row:
            value = cell.find(MAIN + "v")
            if value is None:
                continue
            column = 0
            for letter in re.match("[A-Z]+", cell.get("r"))[0]:
                column = column * 26 + ord(letter) - 64
            cells[column] = texts[int(value.text)] if cell.get("t") == "s" else value.text
        if cells:
            rows.append([cells.get(column) for column in range(1, max(cells) + 1)])
    return rows


def counted(folder):
    """The figures, from the files alone."""
    orders, details = lines(folder / "orders.csv"), lines(folder / "order_details.csv")
    pizzas, types = lines(folder / "pizzas.csv"), lines(folder / "pizza_types.csv", "cp1252")
    prices = {pizza["pizza_id"]: Decimal(pizza["price"]) for pizza in pizzas}
    with zipfile.ZipFile(folder / "coffee_chain.xlsx") as workbook:
        (header, *facts), product, location = (sheet(workbook, name) for name in ("FactTable", "Product", "Location"))
    total = lambda name: sum(Decimal(row[header.index(name)]) for row in facts)
    return {
        "orders.rows": len(orders),
        "orders.days": len({order["date"] for order in orders}),
        "details.rows": len(details),
        "details.quantity": sum(int(line["quantity"]) for line in details),
        "details.sales": sum(int(line["quantity"]) * prices[line["pizza_id"]] for line in details),
        "pizzas.rows": len(pizzas),
        "types.rows": len(types),
        "facts.rows": len(facts),
        "facts.columns": sum(name is not None for name in header),
        "facts.sales": total("Sales"),
        "facts.budget": total("Budget Sales"),
        "product.rows": len(product) - 1,
        "location.rows": len(location) - 1,
    }


def said(folder):
    """The figures that the data's README names."""
    text = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    found = {}
    for name, _, start, pattern in FIGURES:
        line = next((line for line in text if start and line.startswith(start)), "")
        match = re.search(pattern, line) if pattern else None
        if match:
            found[name] = Decimal(match[1].replace(",", ""))
    return found


def shown(number):
    number = Decimal(number)
    return f"{number:,.0f}" if number == number.to_integral_value() else f"{number:,}"


def compare(folder, loaded):
    """Prints the table; answers whether all figures agree."""
    files, readme = counted(folder), said(folder)
    print("| | its README | the files, by `measure.py` | PostgreSQL | |")
    print("|---|--:|--:|--:|---|")
    agree = True
    for name, title, _, pattern in FIGURES:
        # A figure that neither names is to be nothing: rows refused.
        sources = [readme.get(name), files.get(name)]
        wanted = [Decimal(figure) for figure in sources if figure is not None] or [Decimal(0)]
        same = set(wanted) == {Decimal(loaded[name])} and (pattern is None or name in readme)
        agree = agree and same
        cells = ["" if figure is None else shown(figure) for figure in (*sources, loaded[name])]
        print(f"| {title} | {' | '.join(cells)} | {'same' if same else '**differs**'} |")
    return agree


def write(table, path):
    text = path.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    path.write_text(f"{head}{BEGIN}\n{table.read_text(encoding='utf-8')}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        pairs = (line.split("\t") for line in Path(sys.argv[2]).read_text().splitlines())
        sys.exit(0 if compare(Path(sys.argv[1]), dict(pairs)) else 1)
