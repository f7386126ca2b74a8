"""The page: a form for wishes, and the molecules of a job as they are finished; and `/docs`. All is served here."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, Response

from ead_core.pictures.template import WEB

PAGE = Path(__file__).parent / "page"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"
ASSETS = {
    "page.css": (PAGE, "text/css"),
    "page.js": (PAGE, "text/javascript"),
    "form.js": (PAGE, "text/javascript"),
    "gallery.js": (PAGE, "text/javascript"),
    "3Dmol-min.js": (WEB, "text/javascript"),
    "swagger-ui-bundle.js": (SWAGGER, "text/javascript"),
    "swagger-ui.css": (SWAGGER, "text/css"),
}
# 3Dmol.js keeps pictures in blobs; nothing else but this server is asked for anything.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """The page."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(PAGE / "index.html", media_type="text/html", headers=headers)


@router.get("/page/{name}")
async def asset(name: str) -> Response:
    """What the page loads; 404 for anything else."""
    if name not in ASSETS:
        return Response(status_code=404)
    folder, kind = ASSETS[name]
    return FileResponse(folder / name, media_type=kind, headers={"Cache-Control": "no-cache"})


@router.get("/docs")
async def document(request: Request) -> HTMLResponse:
    """The document of the interface as a page, by Swagger UI, which comes from here, too."""
    root = request.scope["root_path"]
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=request.app.title,
        swagger_js_url=f"{root}/page/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/page/swagger-ui.css",
        swagger_favicon_url="data:,",
    )
