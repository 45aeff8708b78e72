"""The package beneath the emotion-share workbook."""
