"""The code blocks of a Markdown page, in order, with the headings above them and the comment directly before them, which
its readers do not see."""

import dataclasses
import re

_FENCE = re.compile(r"^(`{3,}|~{3,})\s*([\w-]*)\s*$")


@dataclasses.dataclass
class Block:
    number: int       # 1 is the first of the page
    line: int         # of its first line of text
    language: str     # "" if the fence has none
    text: str
    headings: list    # of its place, from the outermost on
    comment: str      # the text of the HTML comment that ends on the line before the fence, or ""

    @property
    def heading(self):
        return self.headings[-1] if self.headings else ""


def blocks(text):
    found, headings, fence, before = [], [], None, []
    for at, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if fence is None and mark:
            comment = re.search(r"<!--((?:(?!-->).)*)-->\s*$", "\n".join(before), re.S)
            fence = (mark[1], mark[2], at + 1, [], comment[1].strip() if comment else "")
        elif fence is not None and mark and mark[1] == fence[0] and not mark[2]:
            found.append(Block(len(found) + 1, fence[2], fence[1], "\n".join(fence[3]) + "\n", list(headings), fence[4]))
            fence, before = None, []
        elif fence is not None:
            fence[3].append(line)
        else:
            before.append(line)
            title = re.match(r"^(#+)\s+(.*?)\s*$", line)
            if title:
                headings = [h for h in headings if h[0] < len(title[1])] + [(len(title[1]), title[2])]
                before = []
    for block in found:
        block.headings = [title for _, title in block.headings]
    return found
