"""Boxes, points and what tuning starts from, when they are of no use."""

from .kitchen import FAST, Case, Kitchen


def prompted(kitchen: Kitchen, *cues: object) -> list[object]:
    return ["track", kitchen.clip, "--out", kitchen.out, *FAST, *cues]


CASES = [
    Case("no mask, box or point", lambda k: prompted(k), "no mask was given"),
    Case("a box of three numbers", lambda k: prompted(k, "--box", "1,2,3"), "--box is '1,2,3'"),
    Case("a box of words", lambda k: prompted(k, "--box", "a,b,c,d"), "--box is 'a,b,c,d'"),
    Case("an empty box", lambda k: prompted(k, "--box", "9,9,9,20"), "box 9,9,9,20 is empty"),
    Case("a box turned around", lambda k: prompted(k, "--box", "40,30,10,10"), "box 40,30,10,10 is empty"),
    Case("a box out of the frame", lambda k: prompted(k, "--box", "0,0,99,20"), "extends beyond the frame"),
    Case("a box with NaN", lambda k: prompted(k, "--box", "nan,0,9,9"), "--box is 'nan,0,9,9'"),
    Case("a box on frame 99 of 3", lambda k: prompted(k, "--box", "1,1,20,20@99"), "99"),
    Case("a box of object 0", lambda k: prompted(k, "--box", "1,1,20,20#0"), "object id 0"),
    Case("a box of object 70000", lambda k: prompted(k, "--box", "1,1,20,20#70000"), "70000"),
    Case("two boxes of one object", lambda k: prompted(k, "--box", "1,1,9,9#1", "--box", "2,2,9,9#1"), "two boxes"),
    Case("a point outside the frame", lambda k: prompted(k, "--point", "64.5,10"), "outside the frame"),
    Case("a point of one number", lambda k: prompted(k, "--point", "7"), "--point is '7'"),
    Case("only a point beside the object", lambda k: prompted(k, "--point", "7,7,-"), "only points outside"),
    Case("a box and a mask of one frame",
         lambda k: prompted(k, "--mask", k.mask, "--box", "1,1,20,20"), "has a mask, and boxes or points too"),
    Case("a segmenter that is none",
         lambda k: prompted(k, "--box", "1,1,20,20", "--segmenter", "foo"), "no segmenter is called 'foo'"),
    Case("a segmenter that is not here",
         lambda k: prompted(k, "--box", "1,1,20,20", "--segmenter", "sam-vit-b"), "sam-vit-b", code=3),
    Case("a kernel file that is none",
         lambda k: k.track("--conditioning", k.at("file.safetensors", "no tensors")), "file.safetensors"),
    Case("tuning of raw colours", lambda k: k.track("--tuning", "fast"), "tun"),
]  # fmt: skip
