"""What the page does in the browser alone: it keeps the conversation of its tab, and saves files."""

from __future__ import annotations

KEY = "medray-chat"
KEEP = f"""(chat) => {{
    if (!window.medrayRestored) return;  // the empty chat of a page that opens
    try {{ sessionStorage.setItem("{KEY}", JSON.stringify(chat)); }} catch (full) {{}}
}}"""
"""In the tab's own storage: it outlives a reload, and nobody who opens the page later sees it."""
RESTORE = f"""() => {{
    window.medrayRestored = true;
    try {{ return [JSON.parse(sessionStorage.getItem("{KEY}") || "[]")]; }} catch (broken) {{ return [[]]; }}
}}"""
DOWNLOAD = """(text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
    link.download = "medray-chat.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""
