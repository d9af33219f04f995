"""Microsoft's Dataverse SDK reads and writes tables."""

from azure.identity import ClientSecretCredential
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError
from PowerPlatform.Dataverse.models.upsert import UpsertItem

import tasks

FORMATTED = "OData.Community.Display.V1.FormattedValue"
METRICS, FORECASTS = "sk_dailystoremetric", "sk_salesforecast"

world = tasks.WORLD
credential = ClientSecretCredential(world["tenant_id"], world["client_id"], world["client_secret"])
client = DataverseClient(world["brands"]["harbor"]["dataverse_url"], credential)
state = {}


def describe():
    table = client.tables.get(METRICS)
    tasks.expect("logical name", table["table_logical_name"], METRICS)
    return f"{table['entity_set_name']}, id column {table['primary_id_attribute']}"


def list_columns():
    columns = client.tables.list_columns(METRICS)
    names = {column["LogicalName"] for column in columns}
    assert "sk_netsales" in names, names
    return f"{len(names)} columns"


def whole():
    rows = client.records.list(METRICS, select=["sk_businesskey", "sk_netsales"], orderby=["sk_businesskey"])
    state["keys"] = [row["sk_businesskey"] for row in rows]
    assert len(state["keys"]) == len(set(state["keys"])) > 100
    return f"{len(state['keys'])} rows"


def paging():
    pages, keys = 0, []
    for page in client.records.list_pages(METRICS, select=["sk_businesskey"], orderby=["sk_businesskey"],
                                          page_size=97):
        pages += 1
        keys += [row["sk_businesskey"] for row in page]
    tasks.expect("keys page by page", keys, state["keys"])
    assert pages > 1
    return f"{pages} pages of 97"


def filtered():
    store = state["keys"][0].split("_")[0]
    rows = client.records.list(METRICS, select=["sk_businesskey"], filter=f"sk_storenumber eq '{store}'", count=True)
    wanted = [key for key in state["keys"] if key.startswith(f"{store}_")]
    tasks.expect("keys of one store", sorted(row["sk_businesskey"] for row in rows), wanted)
    return f"{len(wanted)} rows"


def built():
    from PowerPlatform.Dataverse.models.filters import col
    rows = client.query.builder(METRICS).select("sk_businesskey", "sk_orders").where(col("sk_orders") > 0) \
        .order_by("sk_orders", descending=True).top(5).execute()
    orders = [row["sk_orders"] for row in rows]
    tasks.expect("order", orders, sorted(orders, reverse=True))
    tasks.expect("rows", len(orders), 5)


def formatted():
    rows = client.records.list(METRICS, select=["sk_netsales", "sk_businessdate"], top=3,
                               include_annotations="*")
    row = next(iter(rows))
    text = row[f"sk_netsales@{FORMATTED}"]
    assert text and str(text) != str(row["sk_netsales"])
    return f"{row['sk_netsales']} reads {text}"


def one_row():
    row = next(iter(client.records.list(METRICS, select=["sk_businesskey"], top=1)))
    found = client.records.retrieve(METRICS, row["sk_dailystoremetricid"], select=["sk_businesskey"])
    tasks.expect("the row by its id", found["sk_businesskey"], row["sk_businesskey"])


def forecast(number):
    return UpsertItem(alternate_key={"sk_businesskey": f"sdk-{number}"},
                      record={"sk_storenumber": "0001", "sk_businessdate": "2025-12-01"})


def forecasts():
    rows = client.records.list(FORECASTS, select=["sk_businesskey", "sk_storenumber"],
                               filter="startswith(sk_businesskey,'sdk-')", orderby=["sk_businesskey"])
    return {row["sk_businesskey"]: row for row in rows}


def upsert_one():
    for _ in range(2):
        client.records.upsert(FORECASTS, [forecast(1)])
    tasks.expect("rows after writing twice", list(forecasts()), ["sdk-1"])


def upsert_many():
    for _ in range(2):
        client.records.upsert(FORECASTS, [forecast(number) for number in range(1, 6)])
    tasks.expect("rows after writing twice", list(forecasts()), [f"sdk-{number}" for number in range(1, 6)])
    return "5 by UpsertMultiple"


def create_update_delete():
    made = client.records.create(FORECASTS, {"sk_businesskey": "made", "sk_storenumber": "0002"})
    client.records.update(FORECASTS, made, {"sk_storenumber": "0003"})
    tasks.expect("the changed value",
                 client.records.retrieve(FORECASTS, made, select=["sk_storenumber"])["sk_storenumber"], "0003")
    client.records.delete(FORECASTS, made)
    tasks.expect("the deleted row", client.records.retrieve(FORECASTS, made), None)


def create_many():
    ids = client.records.create(FORECASTS, [{"sk_businesskey": f"many-{number}"} for number in range(3)])
    tasks.expect("ids", len(set(ids)), 3)
    client.records.update(FORECASTS, ids, {"sk_storenumber": "0009"})
    for one in ids:
        client.records.delete(FORECASTS, one)


def batch():
    request = client.batch.new()
    request.records.upsert(FORECASTS, [forecast(7)])
    request.records.list(METRICS, select=["sk_businesskey"], top=2)
    with request.changeset() as changes:
        reference = changes.records.create(FORECASTS, {"sk_businesskey": "in-a-set"})
        changes.records.update(FORECASTS, reference, {"sk_storenumber": "0004"})
    result = request.execute()
    tasks.expect("failures", [(one.status_code, one.error_message) for one in result.failed], [])
    tasks.expect("answers", len(result.responses), 4)
    assert "sdk-7" in forecasts()
    return "an upsert, a query, and a change set that refers to its own row"


def batch_failing():
    request = client.batch.new()
    request.records.upsert(FORECASTS, [UpsertItem({"sk_businesskey": "bad"}, {"sk_nosuchcolumn": 1})])
    request.records.upsert(FORECASTS, [forecast(8)])
    result = request.execute(continue_on_error=True)
    tasks.expect("statuses", [one.status_code for one in result.responses], [400, 204])
    assert "sdk-8" in forecasts(), "the row after the bad one was not written"


def refusal():
    try:
        client.records.list(METRICS, select=["sk_nosuchcolumn"])
    except HttpError as error:
        tasks.expect("status", error.status_code, 400)
        assert "sk_nosuchcolumn" in str(error), error
        return "400 that names the column"
    raise AssertionError("it was answered")


def sql():
    try:
        rows = client.query.sql(f"SELECT TOP 3 sk_businesskey FROM {METRICS}")
        tasks.done("ask in SQL", f"{len(list(rows))} rows")
    except HttpError as error:
        tasks.cannot("ask in SQL", f"the stand-in has no `?sql=`, which storekeeper never asks: {error}")


tasks.attempt("describe a table", describe)
tasks.attempt("list its columns", list_columns)
tasks.attempt("read all rows", whole)
tasks.attempt("read them page by page", paging)
tasks.attempt("filter and count", filtered)
tasks.attempt("ask by the query builder", built)
tasks.attempt("read formatted values", formatted)
tasks.attempt("read one row by its id", one_row)
tasks.attempt("upsert one row by its key, twice", upsert_one)
tasks.attempt("upsert several, twice", upsert_many)
tasks.attempt("create, update and delete a row", create_update_delete)
tasks.attempt("create and update several", create_many)
tasks.attempt("$batch with a change set", batch)
tasks.attempt("$batch that goes on after an error", batch_failing)
tasks.attempt("read an error", refusal)
sql()
tasks.cannot("change tracking", "the SDK has no call for it")
tasks.end()
