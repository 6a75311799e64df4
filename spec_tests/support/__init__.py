"""What several tests share: miniature data, a tiny CLIP, written run folders, a browser."""
