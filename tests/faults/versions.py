def all_tried(): return []
