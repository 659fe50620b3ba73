# Turns text files into a C file: cmake -DOUT=... -DNAMES="a;b" -DFILES="a.html;b.css" -P embed.cmake
# Each becomes `const char NAME[]`, terminated.
set(code "/* Made from the files in src/output/report. */\n")
list(LENGTH FILES count)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  list(GET NAMES ${i} name)
  list(GET FILES ${i} file)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND code "extern const char ${name}[];\nconst char ${name}[] = { ${bytes} 0 };\n")
endforeach()
file(WRITE ${OUT} "${code}")
