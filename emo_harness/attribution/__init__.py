"""Attribution: which words of a prompt move the answer."""
