"""For a class: copies of the notebooks without solutions, checks of a student's file, grades for a folder of them.

copies.py       the students' copies of the notebooks
sources.py      reading a notebook or a Python file as statements
statements.py   which of these statements are definitions
workbook.py     what a student's file defines
checks.py       checking it
submissions.py  what a class handed in, copied before any of it runs
archives.py     zip archives among that
grading.py      the grade of each submission
reports.py      the files that grades go to
isolation.py    where submissions run: inside bubblewrap, or beside us
facade.py       minigpt as a submission sees it: names without code
absent.py       what stands for minigpt's functions there
remote.py       a workbook in another process, as the grading process sees it
worker.py       what runs in that process
limits.py       what a submission cannot do there
messages.py     what the two processes write to each other
printable.py    texts of students, made safe to print
"""
