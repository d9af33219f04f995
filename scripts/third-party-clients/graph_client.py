"""Microsoft's Graph SDK reads a drive."""

import asyncio

from azure.identity.aio import ClientSecretCredential
from msgraph import GraphServiceClient
from msgraph.generated.drives.item.items.item.children.children_request_builder import ChildrenRequestBuilder
from msgraph.generated.drives.item.items.item.delta.delta_request_builder import DeltaRequestBuilder
from msgraph.generated.models.drive_item import DriveItem
from msgraph.generated.models.folder import Folder
from msgraph.generated.models.item_reference import ItemReference
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.tasks.page_iterator import PageIterator
from kiota_abstractions.base_request_configuration import RequestConfiguration

import tasks
from quick_xor_hash import quick_xor_hash

FOLDER = "BI Import"


async def main():
    world = tasks.WORLD
    credential = ClientSecretCredential(world["tenant_id"], world["client_id"], world["client_secret"])
    client = GraphServiceClient(credential, scopes=[f"{world['graph_url']}/.default"])
    brand = world["brands"]["harbor"]
    state = {}

    async def attempt(task, action):
        try:
            tasks.done(task, await action() or "")
        except Exception as error:  # noqa: BLE001
            tasks.failed(task, f"{type(error).__name__}: {error}")

    async def token():
        issued = await credential.get_token(f"{world['graph_url']}/.default")
        assert issued.token
        return "by azure-identity, after instance and tenant discovery"

    async def site():
        found = await client.sites.by_site_id(f"example.sharepoint.com:/{brand['site']}").get()
        state["site"] = found.id
        return found.display_name

    async def drives():
        found = await client.sites.by_site_id(state["site"]).drives.get()
        state["drive"] = found.value[0].id
        drive = await client.sites.by_site_id(state["site"]).drive.get()
        tasks.expect("the default library", drive.id, state["drive"])
        return f"{len(found.value)} library, {drive.drive_type}"

    def items():
        return client.drives.by_drive_id(state["drive"]).items

    async def folder():
        found = await items().by_drive_item_id("root").children.get()
        state["folder"] = next(item.id for item in found.value if item.name == FOLDER)
        by_path = await items().by_drive_item_id(f"root:/{FOLDER}:").get()
        tasks.expect("the folder by its path", by_path.id, state["folder"])

    async def listing(top):
        query = ChildrenRequestBuilder.ChildrenRequestBuilderGetQueryParameters(
            top=top, select=["id", "name", "size", "file", "folder", "eTag", "cTag"])
        configuration = RequestConfiguration(query_parameters=query)
        page = await items().by_drive_item_id(state["folder"]).children.get(request_configuration=configuration)
        pages, found = 1, list(page.value)
        while page.odata_next_link:
            page = await items().by_drive_item_id(state["folder"]).children.with_url(page.odata_next_link).get()
            pages, found = pages + 1, found + page.value
        return pages, found

    async def children():
        _, whole = await listing(200)
        pages, paged = await listing(5)
        tasks.expect("the names page by page", [item.name for item in paged], [item.name for item in whole])
        assert pages > 1, "one page is no paging"
        state["files"] = [item for item in whole if item.file]
        return f"{len(whole)} items on {pages} pages"

    async def iterator():
        query = ChildrenRequestBuilder.ChildrenRequestBuilderGetQueryParameters(top=7)
        page = await items().by_drive_item_id(state["folder"]).children.get(
            request_configuration=RequestConfiguration(query_parameters=query))
        seen = []
        pages = PageIterator(page, client.request_adapter)
        await pages.iterate(lambda item: seen.append(item.name) or True)
        tasks.expect("names", sorted(name for name in seen if "." in name),
                     sorted(item.name for item in state["files"]))
        return "msgraph-core's own page iterator"

    async def download():
        kinds = {}
        for item in state["all"]:
            kinds.setdefault(item.name.rsplit(".", 1)[-1], item)
        for item in kinds.values():
            content = await items().by_drive_item_id(item.id).content.get()
            tasks.expect(f"the size of {item.name}", len(content), item.size)
            if item.file.hashes:
                tasks.expect(f"the hash of {item.name}", quick_xor_hash(content), item.file.hashes.quick_xor_hash)
        return f"{', '.join(sorted(kinds))}: size and quickXorHash are right"

    async def delta():
        # The typed builder asks below an item; the root is one.
        root = items().by_drive_item_id("root").delta
        query = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(top=10)
        page = await root.get(request_configuration=RequestConfiguration(query_parameters=query))
        pages, found = 1, list(page.value)
        while page.odata_next_link:
            page = await root.with_url(page.odata_next_link).get()
            pages, found = pages + 1, found + page.value
        names = {item.name for item in found}
        assert {item.name for item in state["files"]} <= names, "a file of the listing is missing in the feed"
        state["all"] = [item for item in found if item.file]
        state["link"] = page.odata_delta_link
        later = await root.with_url(state["link"]).get()
        tasks.expect("changes where nothing changed", len(later.value), 0)
        return f"{len(found)} items on {pages} pages, then none"

    async def move():
        item = state["files"][0]
        archive = DriveItem()
        archive.name, archive.folder = "Read by the SDK", Folder()
        made = await items().by_drive_item_id(state["folder"]).children.post(archive)
        change = DriveItem()
        change.parent_reference = ItemReference(id=made.id)
        change.name = f"done {item.name}"
        moved = await items().by_drive_item_id(item.id).patch(change)
        tasks.expect("the moved item's id", moved.id, item.id)
        later = await items().by_drive_item_id("root").delta.with_url(state["link"]).get()
        assert change.name in {changed.name for changed in later.value}, "the move is not in the feed"
        return "and the move is in the feed"

    async def batch():
        wanted = [items().by_drive_item_id(item.id).to_get_request_information() for item in state["files"][1:4]]
        content = BatchRequestContent()
        for request in wanted:
            content.add_request_information(request)
        answer = await client.batch.post(content)
        tasks.expect("statuses", {one.status for one in answer.responses.values()}, {200})
        return f"{len(answer.responses)} answers"

    async def refusal():
        try:
            await items().by_drive_item_id("01NOSUCHITEM").get()
        except ODataError as error:
            tasks.expect("status", error.response_status_code, 404)
            tasks.expect("code", error.error.code, "itemNotFound")
            assert error.error.inner_error.request_id, "no request id"
            return "404 itemNotFound, with the request's id"
        raise AssertionError("it was found")

    await attempt("sign in", token)
    await attempt("find a site by its path", site)
    await attempt("find its library", drives)
    await attempt("find a folder, by listing and by path", folder)
    await attempt("list it, whole and page by page", children)
    await attempt("list it by the page iterator", iterator)
    await attempt("follow the feed of changes", delta)
    await attempt("download a file of each kind", download)
    await attempt("make a folder and move a file there", move)
    await attempt("ask three things in one $batch", batch)
    await attempt("read an error", refusal)
    await credential.close()


asyncio.run(main())
tasks.end()
