"""A corpus with upload dates, among them some that belong to no day."""

from pathlib import Path

CORPUS = """video,id,view_count,duration,upload_date,safe
films/a.mp4,a1,1200,9.5,2026-01-01,true
films/b.mp4,,,,20260101,
films/c.mp4,c1,5,3,2026-01-02,false
films/late.mp4,d1,5,3,2026-01-01T23:30:00-02:00,true
gs://other/e.mp4,e1,7,PT1M,2026-01-01T22:00:00+00:00,no
films/f.mp4,f1,7,3,,true
films/g.mp4,g1,7,3,new year,true
films/a2.mp4,a1,1200,9.5,2026-01-01,true
"""


def write_corpus(path: Path, text: str = CORPUS) -> str:
    path.write_text(text)
    return str(path)
