"""metabase-api and dbt-metabase work against the stand-in of Metabase, on a PostgreSQL of their own."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Both sides are on loopback; the way out that the other clients are given is none of theirs.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

import requests
import tasks
from metabase_api import Metabase_API
from dbtmetabase import DbtMetabase

EMAIL, PASSWORD = "keeper@example.com", "correct-horse-9"
RELEASES = ["v0.54.2", "v0.61.2"]


class Postgres:
    """A cluster that lives as long as this program; PostgreSQL refuses to run as root."""

    def __init__(self, folder):
        found = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
        self.bin = Path([path for path in found if path][-1]).parent
        self.folder = folder
        self.user = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            self.user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        self.run("pg_ctl", "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")

    def run(self, program, *arguments):
        done = subprocess.run([str(self.bin / program), *arguments], cwd=self.folder, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, **self.user)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()[-400:]}")

    def sql(self, text):
        self.run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-c", text)

    def stop(self):
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")


def session(url, setup_token):
    answer = requests.post(f"{url}/api/setup", json={
        "token": setup_token, "user": {"email": EMAIL, "password": PASSWORD, "first_name": "K", "last_name": "S"},
        "prefs": {"site_name": "BI", "site_locale": "en"}})
    answer.raise_for_status()
    return {"X-Metabase-Session": answer.json()["id"]}


def api_client(url, port):
    """What a person does with metabase-api, by its own names."""
    client = Metabase_API(url, EMAIL, PASSWORD)

    def add_database():
        made = client.post("/api/database", json={
            "name": "Shop", "engine": "postgres",
            "details": {"host": "127.0.0.1", "port": port, "dbname": "postgres", "user": "postgres", "ssl": False}})
        tasks.expect("its name", made["name"], "Shop")
        client.post(f"/api/database/{made['id']}/sync_schema")
        # The sync answers before it is done.
        until = time.monotonic() + 30
        while not (found := [t["name"] for t in client.get("/api/table/") if t["db_id"] == made["id"]]):
            if time.monotonic() > until:
                break
        tasks.expect("its tables", found, ["sales"])
        return f"database {made['id']}"

    def collections():
        client.create_collection("Reports", parent_collection_name="Root")
        client.create_collection("Inner", parent_collection_name="Reports")
        inner = client.get_item_id("collection", "Inner")
        tasks.expect("the parent", client.get_item_info("collection", inner)["parent_id"],
                     client.get_item_id("collection", "Reports"))

    def built_question():
        client.create_card("All sales", collection_name="Reports", db_name="Shop", table_name="sales",
                           column_order="alphabetical")
        rows = client.get_card_data(card_name="All sales", collection_name="Reports")
        tasks.expect("rows", len(rows), 6)
        tasks.expect("a row's columns", sorted(rows[0]), ["amount", "day", "id", "store"])
        return "6 rows by the query builder"

    def plain_names():
        client.put("/api/setting/humanization-strategy", json={"value": "none"})
        tasks.expect("the setting it looks at", client.friendly_names_is_disabled(), True)

    def chosen_columns():
        client.create_card("Two columns", collection_name="Reports", db_name="Shop", table_name="sales",
                           column_order=["amount", "store"])
        rows = client.get_card_data(card_name="Two columns", collection_name="Reports")
        tasks.expect("its columns", list(rows[0]), ["amount", "store"])

    def aggregated():
        table = client.get_item_id("table", "sales", db_name="Shop")
        fields = client.get_columns_name_id(table_name="sales", db_name="Shop")
        database = client.get_db_id_from_table_id(table)
        card = client.create_card(custom_json={
            "name": "By store", "display": "bar", "dataset_query": {"type": "query", "database": database, "query": {
                "source-table": table, "aggregation": [["sum", ["field", fields["amount"], None]], ["count"]],
                "breakout": [["field", fields["store"], None]],
                "filter": [">", ["field", fields["amount"], None], 1],
                "order-by": [["desc", ["aggregation", 0]]], "limit": 2}}},
            collection_name="Reports", return_card=True)
        tasks.expect("its rows", client.get_card_data(card_id=card["id"]),
                     [{"store": "C", "sum": 11, "count": 2}, {"store": "B", "sum": 7, "count": 2}])
        on_top = client.create_card(custom_json={
            "name": "Stores", "display": "scalar", "dataset_query": {"type": "query", "database": database, "query": {
                "source-table": f"card__{card['id']}", "aggregation": [["count"]]}}},
            collection_name="Reports", return_card=True)
        tasks.expect("a question on a question", client.get_card_data(card_id=on_top["id"]), [{"count": 2}])

    def native_question():
        database = client.get_db_id_from_table_id(client.get_item_id("table", "sales", db_name="Shop"))
        tags = {"least": {"id": "a1", "name": "least", "display-name": "Least", "type": "number", "default": 0}}
        client.create_card(custom_json={
            "name": "SQL", "display": "table", "dataset_query": {"type": "native", "database": database, "native": {
                "query": "SELECT store, amount FROM sales WHERE amount >= {{least}} ORDER BY id", "template-tags": tags}}},
            collection_name="Reports")
        card = client.get_item_id("card", "SQL", collection_name="Reports")
        tasks.expect("rows", len(client.get_card_data(card_id=card)), 6)
        parameters = [{"type": "number/=", "value": 5, "target": ["variable", ["template-tag", "least"]]}]
        tasks.expect("rows of a parameter", len(client.get_card_data(card_id=card, parameters=parameters)), 2)
        text = client.get_card_data(card_id=card, data_format="csv")
        tasks.expect("the CSV's head", text.splitlines()[0], "store,amount")

    def copies():
        client.copy_card(source_card_name="SQL", source_collection_name="Reports", destination_card_name="SQL again",
                         destination_collection_name="Inner")
        tasks.expect("rows of the copy", len(client.get_card_data(card_name="SQL again", collection_name="Inner")), 6)
        return "it sends back a whole question, and what is not declared is stripped"

    def dashboards():
        reports = client.get_item_id("collection", "Reports")
        board = client.post("/api/dashboard", json={"name": "Morning", "collection_id": reports})["id"]
        card = client.get_item_id("card", "SQL", collection_name="Reports")
        client.put(f"/api/dashboard/{board}", json={"tabs": [], "dashcards": [
            {"id": -1, "card_id": card, "row": 0, "col": 0, "size_x": 6, "size_y": 4}]})
        found = client.get(f"/api/dashboard/{board}")["dashcards"]
        tasks.expect("what is on it", [place["card_id"] for place in found], [card])
        client.copy_dashboard(source_dashboard_id=board, destination_dashboard_name="Evening",
                              destination_collection_id=reports)
        names = {row["name"] for row in client.get(f"/api/collection/{reports}/items?models=dashboard")["data"]}
        tasks.expect("dashboards", names, {"Morning", "Evening"})

    def archives():
        client.move_to_archive("card", "Two columns", collection_name="Reports")
        tasks.expect("found afterwards", [row["name"] for row in client.search("Two columns", "card")], [])

    def searches():
        tasks.expect("found", [row["name"] for row in client.search("By store", "card")], ["By store"])

    for name, task in [("connects a database and syncs it", add_database), ("makes nested collections", collections),
                       ("builds a question on a table", built_question), ("wants friendly names off", plain_names),
                       ("chooses columns", chosen_columns),
                       ("aggregates, breaks out, filters, orders, limits", aggregated),
                       ("asks in SQL, with a parameter, as CSV", native_question), ("copies a question", copies),
                       ("makes and copies a dashboard", dashboards), ("searches", searches), ("archives", archives)]:
        tasks.attempt(f"metabase-api: {name}", task)


MANIFEST = {
    "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json"},
    "nodes": {"model.shop.sales": {
        "resource_type": "model", "unique_id": "model.shop.sales", "name": "sales", "alias": "sales",
        "database": "postgres", "schema": "public", "description": "What was sold.", "tags": [], "meta": {},
        "group": None, "config": {"meta": {}, "materialized": "table"}, "docs": {},
        "columns": {"store": {"name": "store", "description": "Its letter.", "meta": {"metabase.semantic_type": "type/Category"}},
                    "amount": {"name": "amount", "description": "In dollars.", "meta": {}}}}},
    "sources": {}, "groups": {}, "child_map": {"model.shop.sales": []}, "parent_map": {"model.shop.sales": []},
    "exposures": {},
}


def dbt(url, headers, folder):
    """Models out to Metabase, exposures back, as a dbt project does it."""
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    groups = requests.get(f"{url}/api/permissions/group", headers=headers).json()
    admin = next(group["id"] for group in groups if group["name"] == "Administrators")
    key = requests.post(f"{url}/api/api-key", headers=headers, json={"name": "dbt", "group_id": admin}).json()
    client = DbtMetabase(manifest_path=folder / "manifest.json", metabase_url=url, metabase_api_key=key["unmasked_key"])

    def models():
        client.export_models(metabase_database="Shop", schema_filter=None, sync_timeout=10, order_fields=True)
        table = next(t for t in requests.get(f"{url}/api/table", headers=headers).json() if t["name"] == "sales")
        tasks.expect("the table's description", table["description"], "What was sold.")
        fields = requests.get(f"{url}/api/table/{table['id']}/query_metadata", headers=headers).json()["fields"]
        store = next(field for field in fields if field["name"] == "store")
        tasks.expect("a column's description", (store["description"], store["semantic_type"]),
                     ("Its letter.", "type/Category"))

    def exposures():
        client.extract_exposures(output_path=str(folder), output_grouping=None)
        text = (folder / "exposures.yml").read_text()
        for wanted in ["by_store", "sql", "morning", "ref('sales')"]:
            if wanted not in text:
                raise AssertionError(f"`{wanted}` is not among the exposures")
        return f"{text.count('- name:')} exposures"

    tasks.attempt("dbt-metabase: exports models", models)
    tasks.attempt("dbt-metabase: extracts exposures", exposures)


def main():
    sandbox = os.environ["SANDBOX"]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        cluster = folder / "postgres"
        cluster.mkdir()
        postgres = Postgres(cluster)
        try:
            postgres.sql("CREATE TABLE sales (id int PRIMARY KEY, store text, day date, amount numeric);"
                         "INSERT INTO sales VALUES (1,'A','2025-11-01',1),(2,'A','2025-11-02',2),(3,'B','2025-11-01',3),"
                         "(4,'B','2025-11-02',4),(5,'C','2025-11-01',5),(6,'C','2025-11-02',6)")
            for release in RELEASES:
                print(f"  as {release}", flush=True)
                stand_in = subprocess.Popen([sandbox, "metabase", "--release", release], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                try:
                    told = json.loads(stand_in.stdout.readline())
                    headers = session(told["url"], told["setup_token"])
                    api_client(told["url"], postgres.port)
                    work = folder / release
                    work.mkdir()
                    dbt(told["url"], headers, work)
                finally:
                    stand_in.stdin.close()
                    stand_in.wait()
        finally:
            postgres.stop()
    tasks.end()


if __name__ == "__main__":
    sys.exit(main())
