# Target parapet::ffmpeg: FFmpeg's libraries (5.1 or later), found by pkg-config.
#
# They load some hundred others. A program that calls none of them is linked without, so that only
# those that read sound or video wait for the loading.
set(CMAKE_LINK_LIBRARY_USING_parapet_as_needed_SUPPORTED TRUE)
set(CMAKE_LINK_LIBRARY_USING_parapet_as_needed
  "LINKER:--push-state,--as-needed" "<LINK_ITEM>" "LINKER:--pop-state")
pkg_check_modules(FFMPEG REQUIRED libavformat>=59.27 libavcodec>=59.37 libswresample>=4.7 libswscale>=6.7 libavutil>=57.28)
add_library(parapet_ffmpeg INTERFACE)
add_library(parapet::ffmpeg ALIAS parapet_ffmpeg)
target_include_directories(parapet_ffmpeg SYSTEM INTERFACE ${FFMPEG_INCLUDE_DIRS})
foreach(_library ${FFMPEG_LINK_LIBRARIES})
  target_link_libraries(parapet_ffmpeg INTERFACE "$<LINK_LIBRARY:parapet_as_needed,${_library}>")
endforeach()
