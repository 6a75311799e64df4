"""What several test files share: miniature trees and indices, a tiny CLIP, run folders, readers of pages, a browser."""
