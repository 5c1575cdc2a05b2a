"""An MCP server that ships as an example: grain prices and exchange rates from the sample table of the documents.

    python -m pipelines.tools.example_prices               # stdio: started by the app, as in example.toml
    python -m pipelines.tools.example_prices --http 8765   # streamable HTTP at http://127.0.0.1:8765/mcp

The values are a made-up sample and every result says so, with its month and its source. Reads one file, writes nothing,
listens on this machine only. Knows nothing of the rest of the app.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

SAMPLE = Path(__file__).resolve().parents[2] / "knowledge" / "docs" / "data" / "grain_fx_sample.csv"
# Column, what it is called, unit.
COMMODITIES = {
    "maize": ("maize_fob_gulf_usd_per_t", "옥수수 FOB 걸프(maize, FOB US Gulf)", "USD/t"),
    "freight": ("freight_gulf_korea_usd_per_t", "걸프–한국 운임(freight, US Gulf to Korea)", "USD/t"),
    "maize_cif": ("cif_korea_krw_per_t", "옥수수 CIF 한국(maize, CIF Korea)", "KRW/t"),
}
Row = Mapping[str, str]
Month = Annotated[
    str, Field(description="Month as YYYY-MM; empty for the latest one", pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$")
]


def read_rows(file: Path) -> list[Row]:
    """One row a month, oldest first."""
    with file.open(encoding="utf-8", newline="") as lines:
        return sorted(csv.DictReader(lines), key=lambda row: row["month"])


def row_of(rows: Sequence[Row], date: str) -> Row:
    """Raises:
    ToolError: there is no such month; whoever called reads the message.
    """
    if not date:
        return rows[-1]
    row = next((row for row in rows if row["month"] == date), None)
    if row is None:
        raise ToolError(f"No sample data for {date}; there is {rows[0]['month']} to {rows[-1]['month']}.")
    return row


def make_server(file: Path = SAMPLE) -> MCPServer:
    """The server with its two tools; `file` is read at each call, so an edited table counts at once."""
    server = MCPServer("gakju-example-prices", log_level="WARNING")
    reads_only = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)

    def told(name: str, unit: str, column: str, date: str) -> str:
        rows = read_rows(file)
        row = row_of(rows, date)
        latest = " (표의 마지막 달, latest month in the table)" if row is rows[-1] else ""
        return (
            f"{name}: {int(row[column]):,} {unit}, {row['month']}{latest}. "
            f"표본 자료이며 시장 자료가 아닙니다(sample, not market data). 출처(source): {file.name}."
        )

    tool: Callable[..., Callable[[Callable[..., str]], Callable[..., str]]] = server.tool

    @tool(
        description="Sample monthly price of a grain or its freight: maize, freight, maize_cif", annotations=reads_only
    )
    def latest_price(commodity: Literal["maize", "freight", "maize_cif"], date: Month = "") -> str:
        column, name, unit = COMMODITIES[commodity]
        return told(name, unit, column, date)

    @tool(description="Sample monthly exchange rate: won per US dollar (USD/KRW)", annotations=reads_only)
    def fx_rate(pair: Literal["USD/KRW"] = "USD/KRW", date: Month = "") -> str:
        return told(f"환율(exchange rate) {pair}", "KRW", "krw_per_usd", date)

    return server


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="An example MCP server: sample grain prices and exchange rates.")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP on 127.0.0.1 (default: stdio)")
    parser.add_argument("--file", type=Path, default=SAMPLE, help="another table with the same columns")
    arguments = parser.parse_args(argv)
    server = make_server(arguments.file)
    if arguments.http is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=arguments.http)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
