"""paritygate tells: keeps records and shows them. Imports neither pandas nor sqlalchemy by itself."""
